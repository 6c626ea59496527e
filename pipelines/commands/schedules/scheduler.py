"""The process of a home that keeps its schedules: `python -m tidegate.pipelines.commands.schedules.scheduler`.

With `--pod` it is the one of a cluster, which keeps the schedules of the cluster's store, and never ends by itself.
All that it knows is in the store, so it may be killed at any moment: the next one goes on. It trains nothing itself:
whatever starts is a process of its own, and takes the way of every submit.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn, Protocol

from tidegate.infra.errors import InfraError
from tidegate.infra.system import processes
from tidegate.infra.system.clock import Clock, SystemClock
from tidegate.infra.system.locks import lock
from tidegate.pipelines.commands.schedules.beat import BEAT_S, write_beat
from tidegate.pipelines.commands.schedules.looking import Looker, judge
from tidegate.pipelines.commands.schedules.messenger import send_by_jobs
from tidegate.pipelines.driver.notifications import KEYS as MESSAGES
from tidegate.pipelines.driver.notifications import deliver
from tidegate.pipelines.errors import PipelineError, error_message
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.scheduling.document import ScheduleState, Start, find, names, update
from tidegate.pipelines.scheduling.homes import home_of
from tidegate.pipelines.scheduling.messages import hand_over
from tidegate.pipelines.scheduling.times import begin, pass_time
from tidegate.pipelines.state.approvals import KEYS as APPROVALS
from tidegate.pipelines.state.approvals import find_request
from tidegate.pipelines.state.home import RUNNING, Home, home_at
from tidegate.pipelines.state.mirror import RECORD, known_run

NAME = "scheduler"
PAUSE_S = 5.0  # between two looks at the clock: a machine may sleep, and a clock may be set
POD_PAUSE_S = 10.0  # a bucket counts its requests
LOOKED = "looked"  # the file of a pod's home whose date says that it lives
LOOK_S = 30.0  # between two looks of the triggers
TELL_S = 60.0  # between two tries to send what was not taken
RETRY_S = 30.0  # between two tries to start a run; twice as long after each on a cluster
LONGEST_RETRY_S = 600.0
MOST_AT_ONCE = 3  # processes that start runs: each takes memory of a pod, or of a machine that is used


class Starter(Protocol):
    """Begins what a schedule has due; see `Processes`."""

    def start(self, name: str, start: Start) -> None:
        """Begin the start that is `begun` in the schedule's document; it is called again until it is done."""

    def end(self, run: str) -> None:
        """End a run that waited for people in vain; it is called again until it is done."""


class Processes:
    """Begins each start in a process of its own, one at a time of each schedule and a few of all."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: dict[str, tuple[str, float, subprocess.Popen[bytes]]] = {}

    def start(self, name: str, start: Start) -> None:
        """Begin it, unless it was begun; one whose process died is begun again, after a pause.

        Where as many are being begun as may be, this one waits for the next call.
        """
        doubled = min(max(0, start.tries - 1), 10) if self._home.target is not None else 0
        pause_s = min(RETRY_S * 2**doubled, LONGEST_RETRY_S)
        self._run(start.id, name, pause_s, "start", "--name", name)

    def end(self, run: str) -> None:
        """Begin to end it, as `start`."""
        self._run("late", run, RETRY_S, "late", "--run", run)

    def _run(self, what: str, key: str, pause_s: float, module: str, *arguments: str) -> None:
        alive = [key for key, (_, _, process) in self._running.items() if process.poll() is None]
        if key in alive or len(alive) >= MOST_AT_ONCE:
            return
        begun, since = self._running[key][:2] if key in self._running else ("", 0.0)
        if begun == what and time.monotonic() - since < pause_s:
            return
        module = f"tidegate.pipelines.commands.schedules.{module}"
        argv = [sys.executable, "-P", "-m", module, "--home", str(self._home.path), *arguments]
        argv += ["--pod"] if self._home.target is not None else []
        self._running[key] = what, time.monotonic(), subprocess.Popen(argv, stdin=subprocess.DEVNULL)


class Scheduler:
    """Keeps the schedules of a home.

    Args:
        home: the home.
        clock: which time it is.
        starter: what begins a start.
    """

    def __init__(self, home: Home, clock: Clock, starter: Starter) -> None:
        self._home, self._clock, self._starter = home, clock, starter
        self._experiments: dict[str, tuple[dict[str, Any], Experiment]] = {}
        self._looked: dict[str, float] = {}
        self._looker = Looker(home)
        self._problems: dict[str, str] = {}
        self._told = 0.0
        self._place: Home | None = None  # of a schedule of a cluster
        self._telling: Thread | None = None

    def tick(self) -> None:
        """Deal with all that is due now; what is wrong with one schedule does not keep the others from it."""
        for name in names(self._home.store):
            try:
                self._keep(name)
                self._problems.pop(name, None)
            except Exception as error:
                self._say(name, error)
        if self._home.target is None:
            for run in self._late():
                self._starter.end(run)
            self._tell()
        elif self._place is not None and abs(self._clock.now() - self._told) >= TELL_S:
            self._told = self._clock.now()
            send_by_jobs(self._place)

    def _late(self) -> list[str]:
        """Runs that people did not approve in time, and that nobody has written down as refused."""
        runs = [key.removeprefix(APPROVALS).removesuffix(".json") for key in self._home.store.keys(APPROVALS)]
        return [run for run in runs if self._is_late(run)]

    def _is_late(self, run: str) -> bool:
        request, folder = find_request(self._home.store, run), self._home.folder_of(run)
        if request is None or request.verdict(self._clock.now()) != "late":
            return False
        return (folder.path / RECORD).exists() and folder.record().status == "waiting"

    def _say(self, name: str, error: Exception) -> None:
        """Say what is wrong, once while it lasts."""
        said = f"schedule {name}: {error_message(error)}"
        if self._problems.get(name) != said:
            self._problems[name] = said
            print(said, flush=True)
            if not isinstance(error, PipelineError | InfraError):
                traceback.print_exc()

    def _keep(self, name: str) -> None:
        state = find(self._home.store, name)
        if state is None:
            return
        experiment = self._experiment(state)
        state = self._changed(state, experiment)
        if state is None:
            return
        self._place = home_of(self._home, state)
        if hand_over(self._home, state, experiment.notify):
            self._told = 0.0
        if state.begun is not None:
            self._starter.start(name, state.begun)

    def _changed(self, state: ScheduleState, experiment: Experiment) -> ScheduleState | None:
        """The schedule after this moment; it is written only where something has changed."""
        now, underway = self._clock.now(), self._underway(state)
        seen = self._looker.look(state, experiment) if self._looks(state, now) else None

        def after(known: ScheduleState) -> ScheduleState:
            known = pass_time(known, experiment.schedule, now)
            if seen is not None and not known.paused:
                known = judge(known, experiment, seen, now)
            return begin(known, experiment.schedule, now, underway)

        return update(self._home.store, state.name, after)

    def _looks(self, state: ScheduleState, now: float) -> bool:
        """Whether the triggers look now."""
        if state.paused or abs(now - self._looked.get(state.name, -LOOK_S)) < LOOK_S:
            return False
        self._looked[state.name] = now
        return True

    def _experiment(self, state: ScheduleState) -> Experiment:
        """The experiment, read again only when it has changed."""
        known = self._experiments.get(state.name)
        if known is None or known[0] != state.experiment:
            known = state.experiment, validate(state.experiment, f"schedule {state.name}")
            self._experiments[state.name] = known
        return known[1]

    def _underway(self, state: ScheduleState) -> str | None:
        """The schedule's run that has not ended."""
        known = known_run(home_of(self._home, state), state.last_run) if state.last_run else None
        return state.last_run if known is not None and known.status in RUNNING else None

    def _tell(self) -> None:
        """Send what waits in the store, beside the rest."""
        now = self._clock.now()
        if self._telling is not None and self._telling.is_alive():
            return
        if abs(now - self._told) >= TELL_S and self._home.store.keys(MESSAGES):
            self._told = now
            self._telling = Thread(target=partial(_deliver, self._home), name="notify", daemon=True)
            self._telling.start()

    def close(self) -> None:
        """Wait for what is being sent."""
        if self._telling is not None:
            self._telling.join()


def _deliver(home: Home) -> None:
    for problem in deliver(home):
        print(problem, flush=True)


def ensure_scheduler(home: Home) -> processes.Record:
    """Start the home's scheduler, unless it runs."""
    argv = [sys.executable, "-P", "-m", "tidegate.pipelines.commands.schedules.scheduler"]
    with lock(_lock(home)):
        return processes.start(
            home.processes,
            NAME,
            [*argv, "--home", str(home.path)],
            log=home.path / "scheduler.log",
            cwd=home.path,
        )


def _lock(home: Home) -> Path:
    """Held while a scheduler is started, and by one that ends because there is no schedule any more."""
    return home.path / "scheduler.lock"


def main(argv: Sequence[str] | None = None) -> int:
    """Keep the schedules until there is none; on a cluster for ever.

    Args:
        argv: `--home DIR`, and `--pod` in a pod of a cluster; default: the arguments of the process.
    """
    parser = argparse.ArgumentParser(
        prog="tidegate.pipelines.commands.schedules.scheduler", description=__doc__
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--pod", action="store_true")
    given = parser.parse_args(argv)
    home, clock = home_at(given.home, pod=given.pod), SystemClock()
    scheduler = Scheduler(home, clock, Processes(home))
    if given.pod:
        keep_cluster(home, clock, scheduler)
    while True:
        try:
            scheduler.tick()
            if not names(home.store):
                _end_if_idle(home)
        except (InfraError, OSError) as error:  # such as a full disk: it may pass
            print(error_message(error), flush=True)
        if not home.path.exists():
            return 0
        clock.sleep(PAUSE_S)


def keep_cluster(home: Home, clock: Clock, scheduler: Scheduler) -> NoReturn:
    """Keep the schedules of a cluster, and say so: in its store, and to the node by the date of a file."""
    # The first process of a pod ignores a signal for which it has no handler.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    said = -math.inf
    while True:
        try:
            scheduler.tick()
            if abs(clock.now() - said) >= BEAT_S:
                said = clock.now()
                write_beat(home.store, said)
        except (InfraError, OSError) as error:
            print(error_message(error), flush=True)
        (home.path / LOOKED).touch()
        clock.sleep(POD_PAUSE_S)


def _end_if_idle(home: Home) -> None:
    """End, unless a schedule was set just now; who starts another one waits for our end."""
    with suppress(InfraError), lock(_lock(home), timeout=0):
        if not names(home.store):
            os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
