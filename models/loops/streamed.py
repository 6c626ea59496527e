"""The loop over rows that stay on disk: a loop over rows in memory, applied to one window after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tidegate.models.loops import WindowLoop
    from tidegate.models.preprocessing.windows import Rows, ShuffleWindows


@dataclass(frozen=True)
class StreamedRows:
    """Training rows that stay on disk, for a loop.

    Attributes:
        windows: the rows.
        batch_size: rows per batch.
        data: turns a window's rows into a loop's data, see `loops.LoopSpec`.
    """

    windows: ShuffleWindows
    batch_size: int
    data: Callable[[Rows], tuple[Any, ...]]

    @property
    def example(self) -> tuple[Any, ...]:
        """One row."""
        return self.data(self.windows.example)


class StreamedLoop:
    """Runs over windows of rows; see `loops.Loop`.

    Args:
        loop: a backend's loop, which runs over the rows of one window.
        train: the rows.
    """

    def __init__(self, loop: WindowLoop, train: StreamedRows) -> None:
        self._loop, self._train = loop, train
        self.rows, self.errors = train.windows.rows, loop.errors
        self.batches = -(-self.rows // train.batch_size)
        self._following: np.ndarray | None = None
        self._rows: Rows | None = None

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Run over the rows once, in an order from `ShuffleWindows.order`."""
        assert order is not None
        windows, following = self._train.windows, self._following
        each = windows.size // self._train.batch_size  # batches per window
        first, self._following = start // each, None
        if start == self.batches:
            return
        with closing(windows.read(order, first, following)) as coming:
            for window in range(first, windows.windows):
                before, rows = window * each, next(coming)
                if rows is not self._rows:
                    self._loop.load(self._train.data(rows), before=before)
                    self._rows = rows
                row_order = windows.row_order(order, window)
                for done, bad in self._loop.run(row_order, max(0, start - before), every):
                    yield before + done, None if bad is None else before + bad

    def prefetch(self, order: np.ndarray) -> None:
        """Let the next `run` already read the beginning of the epoch after it, which has this order."""
        self._following = order

    def state(self) -> dict[str, np.ndarray]:
        """The state of the backend's loop."""
        return self._loop.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`."""
        self._loop.restore(state)

    def batches_a_call(self) -> int:
        """That of the backend's loop."""
        return self._loop.batches_a_call()
