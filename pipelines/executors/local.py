"""Run each step as a process of its own on this machine."""

import contextlib
import os
import signal
import subprocess
import sys

from pipelines.executors.base import StepCall, worker_arguments

GRACE_S = 5.0


class LocalHandle:
    """A running process. Its standard input is a pipe that only we hold: it ends when we die."""

    def __init__(self, process: "subprocess.Popen[bytes]", call: StepCall) -> None:
        """Wrap a process that was just started."""
        self._process = process
        self._call = call

    def poll(self) -> int | None:
        """None while it runs, then its exit code; below 0 for a signal."""
        code = self._process.poll()
        if code is not None and self._process.stdin:
            self._process.stdin.close()
        return code

    def logs(self) -> str:
        """What it has printed so far."""
        return self._call.log.read_text()

    def news(self) -> list[str]:
        """Nothing: it runs at once."""
        return []

    def cancel(self) -> None:
        """Terminate, which lets a training keep its state; kill what is left after GRACE_S seconds, children too."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()


class LocalExecutor:
    """Starts `python -m pipelines.worker` with its output in the step's log."""

    poll_s = 0.01

    def start(self, call: StepCall) -> LocalHandle:
        """Start the step's process, in a session of its own: Ctrl-C reaches the driver only."""
        with call.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *worker_arguments(call)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
        return LocalHandle(process, call)


def make() -> LocalExecutor:
    """The executor."""
    return LocalExecutor()
