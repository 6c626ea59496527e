"""In a pod: copy what this process and its children print to a file, as well as to the pod's log."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tee(path: Path) -> Iterator[None]:
    """Copy everything written to stdout and stderr, by C code too, into a file.

    Args:
        path: the file, appended to.
    """
    real = os.dup(1)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(writer)
    thread = threading.Thread(target=_copy, args=(reader, real, path), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(real, 1)  # closes the last writers of the pipe, so its reader ends
        os.dup2(real, 2)
        thread.join(2.0)  # do not wait for a child that still holds the pipe


def _copy(reader: int, real: int, path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        while chunk := os.read(reader, 1 << 16):
            file.write(chunk)
            os.write(real, chunk)
