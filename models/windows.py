"""Training rows that stay on the disk: which of them are in memory when, and how they get there.

An epoch goes through windows of rows. The rows lie in blocks of neighbours; each epoch draws an order of all blocks
from the training's seed and the epoch's number, cuts it into windows of `size` rows, and shuffles the rows within each.
So a row's place depends on the seed and the epoch alone, and a killed training goes on at a batch by reading the one
window that it lies in. This mixes more than a shuffle buffer over files in turn: a window has rows from all over the
data, even where that is sorted by class.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.columns import Array, Columns, concat, rows_of
from models.schema import Schema
from models.shards import Shards
from models.transforms import Transforms

PART = 32  # of the memory: what a window may take as a model sees it; there are up to three at a time
BLOCK_BYTES = 256 << 10  # neighbours that are read at once
LEAST_BLOCKS = 64  # of a window
PIECE_BYTES = 4 << 20  # raw rows that are encoded at once

Rows = tuple[dict[str, Array], Array]


class Windows:
    """The training rows of shards.

    Args:
        paths: the shards.
        schema, transforms: what makes model inputs and a target of their rows.
        counts: training rows of each class (classes,); empty where there are none.
        memory: bytes that a step may use.
        batch_size: rows a batch; a window is a multiple of it.
        buffer: rows of a window; None: as many as PART of the memory holds.
    """

    def __init__(
        self,
        paths: list[Path],
        schema: Schema,
        transforms: Transforms,
        counts: NDArray[np.int64],
        memory: int,
        batch_size: int,
        buffer: int | None = None,
    ) -> None:
        self._shards, self._schema, self._transforms = Shards(paths), schema, transforms
        self.counts, self.rows = counts, self._shards.rows
        some = self._encoded(self._shards.read(0, 1))
        self.example = some
        width = sum(array.nbytes for array in (*some[0].values(), some[1]))
        wanted = buffer or memory // PART // max(1, width)
        batches = -(-self.rows // batch_size)
        self.size = min(max(1, wanted // batch_size), batches) * batch_size
        raw = max(1, self._shards.bytes // self.rows)
        self._block = max(1, min(BLOCK_BYTES // raw, self.size // LEAST_BLOCKS))
        self._piece = max(1, PIECE_BYTES // max(raw, width))
        self._blocks = -(-self.rows // self._block)
        self.windows = -(-self.rows // self.size)

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """An epoch's order: the blocks as they come, and behind them a seed for each window."""
        blocks = generator.permutation(self._blocks)
        return np.concatenate([blocks, generator.integers(2**62, size=self.windows)])

    def shuffled(self, order: NDArray[np.int64], window: int) -> NDArray[np.int32]:
        """The order of the rows within a window, int32."""
        rows = min(self.size, self.rows - window * self.size)
        seed = int(order[self._blocks + window])
        return np.random.default_rng(seed).permutation(rows).astype(np.int32)

    def read(self, order: NDArray[np.int64], first: int) -> Generator[Rows, None, None]:
        """The windows of an epoch from the one numbered `first` on; the next one is read while one is used."""
        blocks = order[: self._blocks]
        lengths = np.minimum(self._block, self.rows - blocks * self._block)
        ends = np.cumsum([0, *lengths])
        pool = ThreadPoolExecutor(1, thread_name_prefix="window")
        try:
            coming = pool.submit(self._window, blocks, ends, first)
            for window in range(first, self.windows):
                ready = [coming.result()]
                if window + 1 < self.windows:
                    coming = pool.submit(self._window, blocks, ends, window + 1)
                else:
                    del coming
                yield ready.pop()  # and hold it no longer
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _window(self, blocks: NDArray[np.int64], ends: NDArray[np.int64], window: int) -> Rows:
        """Its rows, in the order of its blocks."""
        start, stop = window * self.size, min((window + 1) * self.size, self.rows)
        inputs: dict[str, Array] = {}
        target: Array | None = None
        filled = 0
        for piece in self._pieces(blocks, ends, start, stop):
            some, wanted = self._encoded(piece)
            if target is None:
                inputs = {name: np.empty((stop - start, *a.shape[1:]), a.dtype) for name, a in some.items()}
                target = np.empty((stop - start, *wanted.shape[1:]), wanted.dtype)
            end = filled + len(wanted)
            for name, array in some.items():
                inputs[name][filled:end] = array
            target[filled:end] = wanted
            filled = end
        assert target is not None
        return inputs, target

    def _pieces(
        self, blocks: NDArray[np.int64], ends: NDArray[np.int64], start: int, stop: int
    ) -> Iterator[Columns]:
        """Raw rows of an epoch's order from `start` up to `stop`, some MiB at a time."""
        waiting: list[Columns] = []
        place = int(np.searchsorted(ends, start, "right")) - 1
        while start < stop:
            begin = int(blocks[place]) * self._block + start - int(ends[place])
            count = min(stop, int(ends[place + 1])) - start
            waiting.append(self._shards.read(begin, begin + count))
            start, place = start + count, place + 1
            if start == stop or sum(rows_of(part) for part in waiting) >= self._piece:
                yield concat(waiting)
                waiting = []

    def _encoded(self, columns: Columns) -> Rows:
        return self._transforms.apply(columns), self._transforms.target(self._schema, columns)
