"""The main process of a packed pod: `python -P -m tidegate.pipelines.executors.packing.worker --run URI --pack ID`.

It reads its turn from the store, runs that trial as a process of its own, forked where that is safe, says how the
process ended, and waits for the next turn. The trial's process is the same worker as that of a pod of its own: it
writes the trial's log, events, checkpoints and results. Exit code 0: there is nothing more to do. 143: the pod was
terminated; the Job's next pod goes on with the same turn, from the trial's last checkpoint.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from tidegate.infra.errors import InfraError
from tidegate.infra.system.backoff import pauses
from tidegate.pipelines.executors.base import WORKER, StepCall, step_environment
from tidegate.pipelines.executors.forking.kinds import code_of, kind_of, module_names
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.executors.forking.servers import ForkServers
from tidegate.pipelines.executors.packing.documents import (
    ENDED,
    Code,
    End,
    Turn,
    turn_name,
)
from tidegate.pipelines.state.home import Home, home_at
from tidegate.pipelines.state.mirror import Mirror

IDLE_S = 120.0  # without a turn for so long, the pod ends: its driver may be gone
TELL_S = 600.0  # for so long it tries to tell how a trial ended
FIRST_S, LONGEST_S = 0.1, 1.0  # between two tries to tell how a trial ended
# Between two looks for the next turn: a twentieth of the trial before, as this pod does nothing meanwhile.
SHARE, SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.05, 0.05, 1.0
# What each trial's process would import to reach a store in S3.
S3 = ("tidegate.infra.store.s3_bucket", "tidegate.infra.store.s3_description")
POLL_S = 0.02
GRACE_S = (
    25.0  # a little less than a pod's grace period: a training saves its state, and its files are pushed
)
SIGNAL = 128
# Where a container finds how many of its processes were killed for memory: cgroup 2, cgroup 1.
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


class PackedWorker:
    """Runs the turns of one pod.

    Args:
        home: the pod's.
        run: the run's URI.
        pack: the id of this pod in the run.
        trials: how many it takes at most; None: no such limit.
        young_s: it takes another trial until it is so old; None: no such limit.
        deadline_s: seconds after which a trial is ended.
    """

    def __init__(
        self, home: Home, run: str, pack: str, *, trials: int | None, young_s: float | None, deadline_s: float
    ) -> None:
        self._run, self._pack = run, pack
        place = urlparse(run)
        name = Path(unquote(place.path)).name
        self._store = S3 if place.scheme == "s3" else ()
        self._mirror = Mirror(home, name)
        home.folder_of(name).create()
        self._trials, self._young_s, self._deadline_s = trials, young_s, deadline_s
        self._began = time.monotonic()
        self._servers = ForkServers()
        self._look_s = LONGEST_LOOK_S
        self._leaving = False

    def run(self) -> int:
        """Take turns until there are no more; return the exit code."""
        signal.signal(signal.SIGTERM, self._leave)
        done, more = -1, True
        while more and (turn := self._next(done)) is not None and turn.step:
            print(f"trial {turn.step} begins, number {turn.number + 1} of this pod", flush=True)
            code = self._run_trial(turn)
            if self._leaving:
                return SIGNAL + signal.SIGTERM
            done, more = turn.number, self._takes_another(turn)
            self._tell(End(self._pack, turn.number, code, more))
        return 0

    def _leave(self, *_: object) -> None:
        self._leaving = True

    def _takes_another(self, turn: Turn) -> bool:
        young = self._young_s is None or time.monotonic() - self._began < self._young_s
        return young and (self._trials is None or turn.number + 1 < self._trials)

    def _next(self, done: int) -> Turn | None:
        """Wait for a turn after number `done`; None: there was none for IDLE_S seconds."""
        waits, give_up = pauses(SHORTEST_LOOK_S, self._look_s), time.monotonic() + IDLE_S
        while time.monotonic() < give_up:
            if self._leaving:
                os._exit(SIGNAL + signal.SIGTERM)
            with contextlib.suppress(InfraError):  # out of reach; the next look will do
                found = self._mirror.home.store.read(self._mirror.key(turn_name(self._pack)))
                turn = Turn.model_validate_json(found[0]) if found else None
                if turn is not None and turn.number > done and not self._was_told(turn):
                    return turn
            time.sleep(next(waits))
        return None

    def _was_told(self, turn: Turn) -> bool:
        """Whether an earlier pod of this Job has ended this turn."""
        prefix = self._mirror.key(f"{ENDED}{self._pack}.{turn.number}.")
        return bool(self._mirror.home.store.keys(prefix))

    def _run_trial(self, turn: Turn) -> Code:
        """Run the trial's process to its end."""
        content = self._mirror.pull(f"calls/{turn.step}.json")
        if content is None:
            raise FileNotFoundError(f"the store has no call of step {turn.step}; resume the run")
        began, killed = time.monotonic(), _killed_for_memory()
        process = self._start(StepCall.model_validate_json(content))
        try:
            while (code := process.poll()) is None:
                if self._leaving or time.monotonic() >= began + self._deadline_s:
                    process.end(GRACE_S)
                    return "deadline"
                time.sleep(POLL_S)
        finally:
            process.stdin.close()
        self._look_s = min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, SHARE * (time.monotonic() - began)))
        if code == -signal.SIGKILL and _killed_for_memory() > killed:
            return "oom"
        return SIGNAL - code if code > SIGNAL else code

    def _start(self, call: StepCall) -> ForkedProcess:
        """Start the trial's process; what it prints is in the pod's log too."""
        reading, writing = os.pipe()
        code, kind = code_of(call), kind_of(call)
        return self._servers.start_on(
            (reading, os.dup(1), os.dup(2)),
            os.fdopen(writing, "wb"),
            kind and kind.model_copy(update={"before": (*kind.before, *self._store)}),
            [sys.executable, "-P", "-m", WORKER, "--run", self._run, "--step", call.id],
            step_environment(),
            Path.cwd(),
            None if code is None else sorted(set(module_names(code))),
        )

    def _tell(self, end: End) -> None:
        """Write how a turn ended; while the store is out of reach, again and again. Raises InfraError in the end."""
        waits, give_up = pauses(FIRST_S, LONGEST_S), time.monotonic() + TELL_S
        while True:
            try:
                self._mirror.write(end.name, b"{}")
                return
            except InfraError as error:
                print(f"the end of a trial could not be written: {error}", file=sys.stderr)
                if time.monotonic() >= give_up:
                    raise
                time.sleep(next(waits))


def _killed_for_memory() -> int:
    """How many processes of this container were killed because it had no more memory."""
    for path in map(Path, OOM_COUNTERS):
        with contextlib.suppress(OSError):
            lines = (line.split() for line in path.read_text().splitlines())
            return sum(int(words[1]) for words in lines if words[0] == "oom_kill")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the turns of one pod.

    Args:
        argv: default: the arguments of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="tidegate.pipelines.executors.packing.worker", description=__doc__)
    parser.add_argument("--run", required=True, help="URI of the run, s3://…/runs/NAME")
    parser.add_argument("--pack", required=True, help="the pod's id in the run")
    parser.add_argument("--trials", type=int, help="how many it takes")
    parser.add_argument("--young", type=float, help="it takes another until it is so old, in seconds")
    parser.add_argument("--deadline", type=float, required=True, help="seconds that a trial may take")
    given = parser.parse_args(argv)
    home = home_at(Path(os.environ["TIDEGATE_HOME"]), pod=True)
    worker = PackedWorker(
        home,
        given.run,
        given.pack,
        trials=given.trials,
        young_s=given.young,
        deadline_s=given.deadline,
    )
    return worker.run()


if __name__ == "__main__":
    # As in the worker of a step: nothing is left that a regular exit would have to do.
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)
