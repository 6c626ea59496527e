"""A progress bar for many rows, on a terminal only."""

import sys
import time
from typing import TextIO

# No tqdm: it comes with what trains only, and who asks an endpoint need not have that.
EVERY_S = 0.2
WIDTH = 28


class ProgressBar:
    """Shows the rows done, the total and the speed; nothing where stderr is not a terminal.

    Args:
        total: number of rows, exact or about; None: not known.
        stream: where it is drawn (default stderr).
    """

    def __init__(self, total: int | None, stream: TextIO | None = None) -> None:
        self._total, self._stream = total, stream or sys.stderr
        self._shown = self._stream.isatty()
        self._began = time.monotonic()
        self._last, self._done = 0.0, 0

    def add(self, rows: int) -> None:
        """Count `rows` more as done."""
        self._done += rows
        if self._shown and time.monotonic() - self._last >= EVERY_S:
            self._last = time.monotonic()
            self._draw()

    def close(self) -> None:
        """Remove the bar."""
        if self._shown and self._last:
            print(f"\r{'':<78}\r", end="", file=self._stream, flush=True)

    def _draw(self) -> None:
        rate = self._done / max(time.monotonic() - self._began, 1e-3)
        line = f"{self._done:,} rows  {rate:,.0f} rows/s"
        if self._total:
            total = max(self._total, self._done)
            filled = "#" * round(WIDTH * self._done / total)
            left = (total - self._done) / max(rate, 1e-3)
            line = f"[{filled:<{WIDTH}}] {self._done:,}/{total:,} rows  {rate:,.0f} rows/s  {left:.0f} s left"
        print(f"\r{line[:78]:<78}", end="", file=self._stream, flush=True)
