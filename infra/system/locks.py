"""Locks between processes: the kernel drops them when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.infra.errors import InfraError, LockedError
from tidegate.infra.system.files import in_words

# No filelock package: the kernel's flock does it in these lines, and the file says who holds it.
POLL_S = 0.02


@contextmanager
def lock(path: Path, timeout: float | None = None, error: type[InfraError] = LockedError) -> Iterator[None]:
    """Hold the lock named by the file `path`; use it where two commands must not do the same thing at once.

    The file stays behind, empty but for the last holder's process id: removing it would let two holders in.

    Args:
        path: the lock's file; it and its folder are made when missing.
        timeout: seconds to wait; None waits for ever, 0 tries (nearly) once.
        error: raised when the file can't be made, in the caller's own kind.

    Raises:
        LockedError: somebody holds it beyond the timeout.
    """
    with in_words(error, path, "Locking"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(descriptor, path, timeout)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout: float | None) -> None:
    if timeout is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    # One poll more than asked: held() below takes the lock shared for an instant.
    deadline = time.monotonic() + timeout + POLL_S
    while not _try(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "?"
            raise LockedError(
                f"{path} is held by process {holder}, and still was after {timeout:g} s. "
                "Wait for that command to end, or cancel it, then try again."
            )
        time.sleep(POLL_S)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held(path: Path) -> bool:
    """Tell whether a living process holds the lock; use it to know if a run still has a driver."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
