"""Runs commands to their end, and reports failures with the end of their output."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidegate.infra.testbed.host.errors import NotReadyError, TestbedError

POLL_S = 0.2
LAST_LINES = 6


def run(
    argv: Sequence[str | Path],
    *,
    error: type[TestbedError] = TestbedError,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its stdout; raise `error` with its last lines if it fails."""
    try:
        done = subprocess.run(
            argv, input=stdin, cwd=cwd, env=env, capture_output=True, text=True, check=False
        )
    except OSError as fault:
        raise error(
            f"{argv[0]} cannot be started: {fault.strerror}; install it, or correct the path"
        ) from fault
    if done.returncode:
        raise error(f"{_words(argv)} ended with {done.returncode}:\n{tail(done.stderr or done.stdout)}")
    return done.stdout


def run_unchecked(argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
    """Run a command that is allowed to fail and return its stdout."""
    try:
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def wait(what: str, check: Callable[[], bool], seconds: float) -> None:
    """Wait until `check` returns True.

    Raises:
        NotReadyError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what} is not ready after {seconds:g} s")
        time.sleep(POLL_S)


def tail(text: str) -> str:
    """Return the last lines of a text."""
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])


def _words(argv: Sequence[str | Path]) -> str:
    return " ".join([Path(argv[0]).name, *(str(word) for word in argv[1:4])])
