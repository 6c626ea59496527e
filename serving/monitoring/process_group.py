"""What the processes of one server know of each other, in memory that they share.

It is made before they are forked. Each process has a place, with a few numbers that change all the time (cells) and a
snapshot of all that it counted. A snapshot outlives its process, however that ended: the next one at its place goes on
from there, so that no sum over all places ever falls.
"""

import mmap
import os
import struct
import zlib
from enum import IntEnum

HEADER = struct.Struct("<QQI")  # number, bytes and CRC-32 of a snapshot
READS = 5  # of a snapshot that is being written
WIDTH = 8


class Cell(IntEnum):
    """The numbers of each process: its id, when its event loop last turned, what it holds of the shared limits,
    and how many connections it has.
    """

    PID = 0
    BEAT = 1  # milliseconds of the monotonic clock
    BODY_BYTES = 2
    EXPLAINING = 3
    CONNECTIONS = 4


class ProcessGroup:
    """The memory that the processes of a server share.

    Args:
        size: processes at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._cells = memoryview(mmap.mmap(-1, WIDTH * (2 + size * len(Cell)))).cast("q")
        self._snapshots = [Snapshot() for _ in range(size)]

    @property
    def count(self) -> int:
        """How many processes serve."""
        return max(1, self._cells[0])

    @count.setter
    def count(self, processes: int) -> None:
        self._cells[0] = processes

    @property
    def restarts(self) -> int:
        """How many processes took the place of one that had ended."""
        return self._cells[1]

    @restarts.setter
    def restarts(self, number: int) -> None:
        self._cells[1] = number

    def get(self, place: int, cell: Cell) -> int:
        """One number of one process."""
        return self._cells[2 + place * len(Cell) + cell]

    def set(self, place: int, cell: Cell, number: int) -> None:
        """Change one number of one process."""
        self._cells[2 + place * len(Cell) + cell] = number

    def clear(self, place: int) -> None:
        """The process at this place ended: it holds nothing any more; what it counted stays."""
        for cell in Cell:
            self.set(place, cell, 0)

    def snapshot(self, place: int) -> "Snapshot":
        """What the process at a place counted."""
        return self._snapshots[place]


class Member:
    """One process of a group, as that process sees it.

    Args:
        group: the shared memory.
        place: of this process in it.
    """

    def __init__(self, group: ProcessGroup, place: int) -> None:
        self.group, self.place = group, place
        self.set(Cell.PID, os.getpid())

    def set(self, cell: Cell, number: int) -> None:
        """Change one of this process's numbers."""
        self.group.set(self.place, cell, number)

    def elsewhere(self, cell: Cell) -> int:
        """The sum of a number over all other processes."""
        return sum(self.group.get(place, cell) for place in self._others())

    def of_serving(self, cell: Cell) -> list[int]:
        """A number of each other process that serves."""
        return [self.group.get(place, cell) for place in self._others() if self.group.get(place, Cell.BEAT)]

    @property
    def pids(self) -> list[int]:
        """Ids of all processes that run, this one's too."""
        found = (self.group.get(place, Cell.PID) for place in range(self.group.size))
        return [pid for pid in found if pid]

    def publish(self, content: bytes) -> None:
        """Replace this process's snapshot."""
        self.group.snapshot(self.place).write(content)

    def predecessor(self) -> bytes | None:
        """The snapshot that this process finds at its place; None if it is the first there."""
        return self.group.snapshot(self.place).read()

    def others(self) -> list[tuple[bytes, bool]]:
        """The snapshots of all other places, and whether the process there runs."""
        found = [
            (self.group.snapshot(place).read(), bool(self.group.get(place, Cell.PID)))
            for place in self._others()
        ]
        return [(content, runs) for content, runs in found if content is not None]

    def _others(self) -> list[int]:
        return [place for place in range(self.group.size) if place != self.place]


class Snapshot:
    """Bytes that one process writes and others read, whole at any time, also if the writer is killed.

    Two files in memory are written in turn; the one with the highest number whose sum is right is the current one.
    """

    def __init__(self) -> None:
        self._files = [os.memfd_create(f"tidegate-snapshot-{half}") for half in range(2)]
        self._numbers: list[int] | None = None  # of both, as the process that writes knows them

    def write(self, content: bytes) -> None:
        """Replace the content; one process at a time."""
        if self._numbers is None:
            self._numbers = [0 if found is None else found[0] for found in map(_read, self._files)]
        number, older = max(self._numbers) + 1, self._numbers.index(min(self._numbers))
        os.pwrite(self._files[older], HEADER.pack(number, len(content), zlib.crc32(content)) + content, 0)
        self._numbers[older] = number

    def read(self) -> bytes | None:
        """The content; None before the first `write`."""
        for _ in range(READS):
            found = [half for half in map(_read, self._files) if half is not None]
            if found:
                return max(found)[1]
        return None


def _read(file: int) -> tuple[int, bytes] | None:
    head = os.pread(file, HEADER.size, 0)
    if len(head) < HEADER.size:
        return None
    number, size, expected = HEADER.unpack(head)
    content = os.pread(file, size, HEADER.size)
    return (number, content) if zlib.crc32(content) == expected and number else None
