"""Locks between processes. The kernel releases a lock when its holder dies, whatever the cause."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.infra.errors import InfraError, LockedError
from tidegate.infra.system.files import translate_os_errors

# No filelock package: the kernel's flock does it in these lines, and the file says who holds it.
POLL_S = 0.02


@contextmanager
def lock(path: Path, timeout: float | None = None, error: type[InfraError] = LockedError) -> Iterator[None]:
    """Hold the lock of the file `path`; use it where two commands must not do the same thing at once.

    The file stays, with the last holder's process id in it: if it were removed, two processes could hold the lock.

    Args:
        path: the lock's file; it and its folder are created if missing.
        timeout: seconds to wait; None waits for ever, 0 tries (nearly) once.
        error: the class of error raised when the file cannot be created.

    Raises:
        LockedError: another process held the lock until the timeout.
    """
    with translate_os_errors(error, path, "Locking"):
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
    # One poll longer than requested, because is_held() takes the lock for an instant.
    deadline = time.monotonic() + timeout + POLL_S
    while not _try(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "?"
            raise LockedError(
                f"{path} is held by process {holder}, still after {timeout:g} s; "
                "wait for that command to end, or cancel it, then try again"
            )
        time.sleep(POLL_S)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Return whether a running process holds the lock, such as the driver of a run."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
