"""Files that survive a kill at any moment, and operating system errors in words."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tidegate.infra.errors import InfraError

FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain(error: OSError, path: Path, doing: str) -> str:
    """Say what went wrong with `path` and what to do about it."""
    if error.errno in FULL:
        return f"{doing} {path}: the disk is full ({_free(path)}). Free some space, or choose another --home."
    if error.errno in FORBIDDEN:
        return (
            f"{doing} {path}: no permission ({error.strerror}). Make it writable, or choose another --home."
        )
    if error.errno == errno.ENOENT:
        return f"{doing} {path}: no such file. Check the path."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{doing} {path}: a file is where a folder is expected. Move it, or choose another --home."
    return f"{doing} {path}: {error.strerror or error}. Check that disk, then try again."


def _free(path: Path) -> str:
    for folder in path.parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free"
    return "nothing free"


@contextmanager
def in_words(kind: type[InfraError], path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError about `path` into `kind` with a sentence that names the fix."""
    try:
        yield
    except OSError as error:
        raise kind(explain(error, path, doing)) from error


def temporary(folder: Path) -> Path:
    """Name a new temporary file in `folder`, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"


def publish(temp: Path, path: Path) -> None:
    """Rename the synced file `temp` to `path`, so that readers see all of it or nothing.

    Raises OSError; `path` is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names just created in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step that survives a kill; raises OSError."""
    temp = temporary(path.parent)
    try:
        with temp.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)
