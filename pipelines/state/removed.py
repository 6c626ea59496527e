"""What was removed, by name, and the bytes that this freed."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Removed:
    """Names of what was removed, and the bytes that it took."""

    names: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, size: int = 0) -> None:
        """Note one thing that was removed."""
        self.names.append(name)
        self.size += size


def remove_folder(path: Path) -> int:
    """Remove a folder if it is there; return the bytes that its files took."""
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    shutil.rmtree(path, ignore_errors=True)
    return size


def size_text(size: int) -> str:
    """A number of bytes as people read it: `512 bytes`, `3.4 MB`."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} bytes"
