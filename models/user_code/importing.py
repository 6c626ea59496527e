"""Importing the user's modules: an import that never ends, or that forks this process, is noticed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tidegate.models.errors import UserCodeError
from tidegate.models.user_code.project import project_roots

LONGEST_S = 300.0
AGAIN_S = 1.0  # code that catches every exception gets it once more after this time


@contextlib.contextmanager
def importing(what: str) -> Iterator[None]:
    """Import inside; it must end within five minutes, and a copy of this process that it forks ends here.

    Args:
        what: is imported, such as "data.load: importing churn.data".

    Raises:
        UserCodeError: it did not end; names the line at which it was.
    """
    process = os.getpid()
    try:
        with _deadline(what):
            yield
    finally:
        if os.getpid() != process:
            print(f"{what} forked this process; the copy ends here", file=sys.stderr, flush=True)
            os._exit(0)


@contextlib.contextmanager
def _deadline(what: str) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there Python handles signals
        yield
        return

    def give_up(number: int, frame: FrameType | None) -> None:
        del number
        place = _line(frame)
        raise UserCodeError(
            f"{place + ': ' if place else ''}{what} did not end within {LONGEST_S:g} s; expected a module that only "
            "defines what it is imported for; move the work into a function, or below "
            'if __name__ == "__main__"'
        )

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _line(frame: FrameType | None) -> str:
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        root = next((root for root in project_roots() if file.is_relative_to(root)), None)
        if root is not None:
            return f"{file.relative_to(root)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
