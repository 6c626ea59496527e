"""Run each step as a process of its own on this machine; a step of several members as one process per member."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tidegate.models.distributed.process_group import EXIT_MEMBER_LOST, Member, free_local_address
from tidegate.pipelines.executors.base import (
    WORKER,
    Handle,
    StepCall,
    member_name,
    step_arguments,
    step_environment,
)
from tidegate.pipelines.executors.forking.kinds import code_of, kind_of, module_names
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.executors.forking.servers import ForkServers
from tidegate.pipelines.planning.step import Step

GRACE_S = 5.0
SETTLE_S = 8.0  # after one member has failed, the others notice it themselves within this time


class LocalHandle:
    """A running process. Only this process holds the pipe to its standard input, so it ends when this process dies."""

    def __init__(self, process: ForkedProcess, call: StepCall) -> None:
        """Wrap a process that was just started."""
        self.process = process
        self._call = call

    def poll(self) -> int | None:
        """None while it runs, then its exit code; below 0 for a signal."""
        code = self.process.poll()
        if code is not None:
            self.process.stdin.close()
        return code

    def logs(self) -> str:
        """What it has printed so far."""
        return self._call.log.read_text()

    def notices(self) -> list[str]:
        """None: it never waits."""
        return []

    def cancel(self) -> None:
        """Send SIGTERM, so that a training saves its state; kill what is left after GRACE_S seconds, children too."""
        self.process.end(GRACE_S)
        self.process.stdin.close()

    def kill(self) -> None:
        """Kill it and its children."""
        self.process.kill_group()
        self.process.stdin.close()


class GroupHandle:
    """The members of one step: all succeed together, or all are ended."""

    def __init__(self, members: list[LocalHandle], call: StepCall) -> None:
        """Wrap processes that were just started, by rank."""
        self._members = members
        self._call = call
        self._broken_at: float | None = None
        self._notices: list[str] = []

    def poll(self) -> int | None:
        """None while one runs; 0 all succeeded, 1 one failed by itself, below 0 one was lost: all may restart."""
        codes = [member.poll() for member in self._members]
        if not any(codes):
            return None if None in codes else 0
        if self._broken_at is None:
            self._broken_at = time.monotonic()
        if None in codes and time.monotonic() - self._broken_at < SETTLE_S:
            return None
        for member in self._members:
            member.kill()
        return self._exit_code(codes)

    def logs(self) -> str:
        """What the first member has printed so far."""
        return self._call.log.read_text()

    def notices(self) -> list[str]:
        """Which members were lost, since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def cancel(self) -> None:
        """End them; the first member, which saves the training's state, before the others."""
        for member in self._members:
            member.cancel()

    def _exit_code(self, codes: list[int | None]) -> int:
        """1 if a member failed by itself, else minus the signal that killed a member."""
        ends = {rank: code for rank, code in enumerate(codes) if code}
        failed = next((rank for rank, code in ends.items() if code > 0 and code != EXIT_MEMBER_LOST), None)
        if failed is not None:
            self._use_error_of(failed)
            return 1
        killed = {rank: code for rank, code in ends.items() if code < 0 and code != -signal.SIGABRT}
        for rank, code in killed.items():
            self._notices.append(f"member {rank} of {len(codes)} was killed by signal {-code}")
        return next(iter(killed.values()), -signal.SIGABRT)

    def _use_error_of(self, rank: int) -> None:
        """Make a member's error the step's error."""
        if rank and _error_path(self._call, rank).exists():
            _error_path(self._call, rank).replace(_error_path(self._call, 0))


class LocalExecutor:
    """Starts `python -m tidegate.pipelines.executors.worker`, or forks it, with its output in the step's log."""

    poll_s = 0.01

    def __init__(self, records: Path | None = None) -> None:
        """Have fork servers where processes can be forked.

        Args:
            records: the home's folder of processes, where fork servers stay for the next submit; None: none stays.
        """
        self._servers = ForkServers(records=records)

    def expect(self, steps: Iterable[Step], log: Callable[[str], Path]) -> None:
        """Have the fork server of the first training import TensorFlow while earlier steps run."""
        step = next((step for step in steps if step.step == "train"), None)
        if step is None:
            return
        call = StepCall.model_construct(
            run="", id=step.id, step=step.step, key=step.key, inputs=step.inputs, log=log(step.id)
        )
        kind = kind_of(call)
        if kind is not None:
            with contextlib.suppress(OSError), call.log.open("ab") as file:  # then the step's start says so
                self._servers.ready(kind, step_environment(), file.fileno(), code_of(call) is not None)

    def start(self, call: StepCall) -> Handle:
        """Start the step's process or processes, each in a session of its own: Ctrl-C reaches the driver only."""
        if call.members == 1:
            return self._start(call, 0, {})
        for rank in range(call.members):  # of an earlier attempt
            _error_path(call, rank).unlink(missing_ok=True)
        meeting = free_local_address()
        members = [Member(rank, call.members, meeting) for rank in range(call.members)]
        return GroupHandle([self._start(call, one.rank, one.environment()) for one in members], call)

    def _start(self, call: StepCall, rank: int, environment: Mapping[str, str]) -> LocalHandle:
        code = code_of(call)
        process = self._servers.start(
            kind_of(call),
            [sys.executable, "-P", "-m", WORKER, *step_arguments(call)],
            {**step_environment(), **environment},
            call.log.with_name(f"{member_name(call.id, rank)}.log"),
            None if code is None else sorted(set(module_names(code))),
        )
        return LocalHandle(process, call)


def _error_path(call: StepCall, rank: int) -> Path:
    """Where a member writes its error, in the folder next to the logs."""
    return call.log.parents[1] / "errors" / f"{member_name(call.id, rank)}.json"


def make(records: Path | None = None) -> LocalExecutor:
    """The executor.

    Args:
        records: see `LocalExecutor`.
    """
    return LocalExecutor(records)
