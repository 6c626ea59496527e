"""Atomic file writes, files that may be missing, and operating system errors as sentences that name the fix."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tidegate.infra.errors import InfraError

FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain(error: OSError, path: Path, doing: str) -> str:
    """Say what went wrong with `path` and what to do about it."""
    if error.errno in FULL:
        return f"{doing} {path}: the disk is full ({_free(path)}); free some space, or choose another --home"
    if error.errno in FORBIDDEN:
        return f"{doing} {path}: no permission ({error.strerror}); make it writable, or choose another --home"
    if error.errno == errno.ENOENT:
        return f"{doing} {path}: no such file; check the path"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{doing} {path}: there is a file; expected a folder; move the file, or choose another --home"
    return f"{doing} {path}: {error.strerror or error}; check that disk, then try again"


def _free(path: Path) -> str:
    for folder in path.parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free"
    return "nothing free"


@contextmanager
def translate_os_errors(kind: type[InfraError], path: Path, doing: str) -> Iterator[None]:
    """Raise an OSError about `path` as `kind`, with a sentence that names the fix."""
    try:
        yield
    except OSError as error:
        raise kind(explain(error, path, doing)) from error


def temporary(folder: Path) -> Path:
    """Return the path of a new temporary file in `folder`, which is created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".tmp-{os.getpid()}-{os.urandom(6).hex()}"


def publish(temp: Path, path: Path) -> None:
    """Rename the synced file `temp` to `path`, so that readers see the whole file or none.

    Raises OSError; `path` is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that names just created in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replace the content of `path` in one step, so that a kill leaves the old or the new file; raises OSError.

    Args:
        path: the file.
        content: all of it.
        mode: of the file from its first moment on, without what the umask takes away.
    """
    temp = temporary(path.parent)
    try:
        with os.fdopen(
            os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb"
        ) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """A JSON document, or None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
