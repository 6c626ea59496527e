"""A hard limit on the memory of real processes: a control group of the kernel, version 2 or 1; needs root.

Pages of files count and are given back when others need the room; what processes hold counts and is not. A process that
asks for more than there is gets killed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """A control group: its folder, and the kernel's version of them."""

    path: Path
    version: int

    @property
    def procs(self) -> Path:
        """What a process writes its id into to join."""
        return self.path / "cgroup.procs"

    def limit(self, most: int) -> None:
        """What its processes may hold together from now on; pages of files are given back for it."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        (self.path / name).write_text(str(most))

    def most(self) -> int:
        """The most bytes that were used at a time, pages of files included."""
        return int(
            (self.path / ("memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")).read_text()
        )

    def held(self) -> int:
        """Bytes that processes hold now, pages of files left out."""
        return self._stat("anon" if self.version == 2 else "rss")

    def killed(self) -> int:
        """How many processes were killed for memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return self._stat("oom_kill", name)

    def _stat(self, key: str, name: str = "memory.stat") -> int:
        lines = (self.path / name).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == key)


def parent() -> tuple[Path, int] | None:
    """Where groups with a memory limit can be made, and the version; None: nowhere."""
    if os.geteuid():
        return None
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    if "memory" in own:
        path = ROOT / "memory" / own["memory"].lstrip("/")
        return (path, 1) if os.access(path, os.W_OK) else None
    path = ROOT
    controllers = path / "cgroup.subtree_control"
    with contextlib.suppress(OSError):
        controllers.write_text("+memory")
        return path, 2
    return None


@contextlib.contextmanager
def limited(limit: int) -> Iterator[Group]:
    """A group whose processes may hold so many bytes together; it is removed when they have ended."""
    found = parent()
    assert found is not None
    folder, version = found
    path = folder / f"tidegate-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    try:
        group = Group(path, version)
        group.limit(limit)
        if version == 2:
            with contextlib.suppress(OSError):
                (path / "memory.swap.max").write_text("0")
        yield group
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                path.rmdir()
                break
            time.sleep(0.1)
