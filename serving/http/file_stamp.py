"""Whether a file that may be replaced at any time is another one than before."""

from pathlib import Path


def file_stamp(path: Path) -> tuple[int, int] | None:
    """When a file was written, and which one it is; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
