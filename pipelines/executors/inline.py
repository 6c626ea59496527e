"""Run each step in this process, one after another: for a debugger and for tests."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tidegate.pipelines.executors.base import StepCall, step_arguments
from tidegate.pipelines.planning.step import Step


@dataclass(frozen=True)
class InlineHandle:
    """A step that has already ended."""

    code: int
    call: StepCall

    def poll(self) -> int:
        """Its exit code."""
        return self.code

    def logs(self) -> str:
        """What it printed."""
        return self.call.log.read_text()

    def notices(self) -> list[str]:
        """None: it never waits."""
        return []

    def cancel(self) -> None:
        """Nothing: it has already ended."""


class InlineExecutor:
    """Runs the worker's main function here."""

    poll_s = 0.01

    def expect(self, steps: Iterable[Step], log: Callable[[str], Path]) -> None:
        """Nothing: each step is imported when it starts."""

    def start(self, call: StepCall) -> InlineHandle:
        """Run the step to its end."""
        from tidegate.pipelines.executors.worker import main

        with call.log.open("a", buffering=1) as log, contextlib.redirect_stdout(log):
            return InlineHandle(main(step_arguments(call)), call)


def make(_: Path | None = None) -> InlineExecutor:
    """The executor; it starts no process that could stay."""
    return InlineExecutor()
