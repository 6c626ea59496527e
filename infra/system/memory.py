"""How much memory is left: of the machine, or of this process's control group where that has less."""

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
# Version 2 and version 1 of control groups: limit, use, and the key of what the kernel can take back from the use.
FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def share_left() -> float:
    """The share of the memory, from 0 to 1, that could be used without swapping; the least of all limits."""
    machine = psutil.virtual_memory()
    return min([machine.available / machine.total, *_shares(machine.total)])


def _shares(total: int) -> Iterator[float]:
    for folder in groups():
        for limit, use, reclaimable in FILES:
            try:
                size = int((folder / limit).read_text())
                used = int((folder / use).read_text())
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # another version, or "max": no limit
                continue
            if 0 < size < total:
                yield max(0.0, 1.0 - (used - int(stat.get(reclaimable, 0))) / size)


def groups() -> Iterator[Path]:
    """The folders of this process's control groups for memory, and of those that they are in."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            inside = root / name.lstrip("/")
            yield from (inside, *(above for above in inside.parents if above.is_relative_to(root)))
