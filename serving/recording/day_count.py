"""How many rows may be recorded yet today: one count for all processes of a server."""

import fcntl
import mmap
import tempfile
from pathlib import Path

from tidegate.serving.recording.segments import DAY


class DayCount:
    """A count of rows in memory that forked processes share; a day ends at midnight, UTC.

    Args:
        most: rows of a day.
        rows: of today, so far.
        now: s since the epoch.
    """

    def __init__(self, most: int, rows: int, now: float) -> None:
        self._most = most
        self._cells = memoryview(mmap.mmap(-1, 16)).cast("q")
        self._cells[0], self._cells[1] = int(now // DAY), rows
        self._lock, path = tempfile.mkstemp()
        Path(path).unlink()
        self._full = -1  # the day that this process knows to be full

    def take(self, wanted: int, now: float) -> int:
        """Take as many rows of the day as are left, at most `wanted`; return how many."""
        day = int(now // DAY)
        if day == self._full:
            return 0
        fcntl.lockf(self._lock, fcntl.LOCK_EX)  # a process that ends lets go of it
        try:
            if self._cells[0] < day:  # a clock that goes back begins no new day
                self._cells[0], self._cells[1] = day, 0
            taken = min(wanted, self._most - self._cells[1])
            self._cells[1] += max(0, taken)
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        if taken < wanted:
            self._full = day
        return max(0, taken)
