"""Training rows that stay on the disk: which of them are in memory when, and how they get there.

An epoch goes through windows of rows. The rows lie in blocks of neighbours; each epoch draws an order of all blocks
from the training's seed and the epoch's number, cuts it into windows of `size` rows, and shuffles the rows within each.
So a row's place depends on the seed and the epoch alone, and a killed training goes on at a batch by reading the one
window that it lies in. This mixes more than a shuffle buffer over files in turn: a window has rows from all over the
data, even where that is sorted by class.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, concat, rows_of
from tidegate.models.data.shards import Shards
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms

PART = 32  # of the memory: what a window may take as a model sees it; there are two at a time
BLOCK_BYTES = 256 << 10  # neighbours that are read at once
LEAST_BLOCKS = 64  # of a window
PIECE_BYTES = 1 << 20  # rows that are encoded at once: a core's own cache holds them
ALIGNED = 64  # bytes: what TensorFlow and XLA ask of memory that they take as it is

Rows = tuple[dict[str, Array], Array]


class ShuffleWindows:
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
        windows = -(-batches // max(1, wanted // batch_size))
        self.size = -(-batches // windows) * batch_size  # windows of one size: none waits for a longer one
        raw = max(1, self._shards.bytes // self.rows)
        self._block = max(1, min(BLOCK_BYTES // raw, self.size // LEAST_BLOCKS))
        self._piece = max(1, PIECE_BYTES // max(raw, width))
        self._blocks = -(-self.rows // self._block)
        self.windows = -(-self.rows // self.size)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="window")
        self._ahead: tuple[NDArray[np.int64], Future[Rows]] | None = None
        self._rooms: dict[int, Rows] = {}
        self._place = 0
        self._held: Rows | None = None

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """An epoch's order: the blocks as they come, and behind them a seed for each window."""
        blocks = generator.permutation(self._blocks)
        return np.concatenate([blocks, generator.integers(2**62, size=self.windows)])

    def row_order(self, order: NDArray[np.int64], window: int) -> NDArray[np.int32]:
        """The order of the rows within a window, int32."""
        rows = min(self.size, self.rows - window * self.size)
        seed = int(order[self._blocks + window])
        drawn = np.random.default_rng(seed).permutation(rows).astype(np.int32)
        if self.windows > 1:
            return drawn
        # The only window is kept from epoch to epoch, its blocks as they lie on the disk.
        blocks, ends = self._ends(order)
        return (np.repeat(blocks * self._block - ends[:-1], np.diff(ends)) + np.arange(rows))[drawn].astype(
            np.int32
        )

    def read(
        self, order: NDArray[np.int64], first: int, following: NDArray[np.int64] | None = None
    ) -> Generator[Rows, None, None]:
        """The windows of an epoch from the one numbered `first` on; the next one is read while one is used.

        A window's arrays begin at multiples of `ALIGNED` bytes, and are filled anew once the next window is asked for.

        Args:
            order, first: what to read.
            following: the order of the next epoch, whose first window is read while the last one here is used.
        """
        coming = self._taken(order, first)
        try:
            for window in range(first, self.windows):
                rows = coming.result()
                if window + 1 < self.windows:
                    coming = self._submit(order, window + 1)
                elif following is not None:
                    self._ahead = following, self._submit(following, 0)
                yield rows
        finally:
            if self._ahead is None:
                self._let_go()

    def _taken(self, order: NDArray[np.int64], first: int) -> Future[Rows]:
        """The first window, which may have been read ahead."""
        if self._ahead is not None and first == 0 and np.array_equal(self._ahead[0], order):
            coming, self._ahead = self._ahead[1], None
            return coming
        self._let_go()
        return self._submit(order, first)

    def _submit(self, order: NDArray[np.int64], window: int) -> Future[Rows]:
        """Read a window into the room that the one before does not use."""
        if self.windows == 1:
            return self._pool.submit(self._all)
        self._place = 1 - self._place
        blocks, ends = self._ends(order)
        return self._pool.submit(self._window, blocks, ends, window, self._place)

    def _let_go(self) -> None:
        """Of what is being read: its room is free afterwards."""
        self._ahead = None
        self._pool.submit(lambda: None).result()

    def _ends(self, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The blocks of an order, and where each begins and ends in it (blocks + 1,)."""
        blocks = order[: self._blocks]
        return blocks, np.cumsum([0, *np.minimum(self._block, self.rows - blocks * self._block)])

    def _all(self) -> Rows:
        """The only window."""
        if self._held is None:
            self._held = self._window(*self._ends(np.arange(self._blocks)), 0, 0)
        return self._held

    def _window(self, blocks: NDArray[np.int64], ends: NDArray[np.int64], window: int, place: int) -> Rows:
        """Its rows, in the order of its blocks."""
        start, stop = window * self.size, min((window + 1) * self.size, self.rows)
        if place not in self._rooms:
            rows, (some, wanted) = min(self.size, self.rows), self.example
            room = {name: aligned((rows, *array.shape[1:]), array.dtype) for name, array in some.items()}
            self._rooms[place] = room, aligned((rows, *wanted.shape[1:]), wanted.dtype)
        inputs, target = self._rooms[place]
        filled = 0
        for piece in self._pieces(blocks, ends, start, stop):
            some, wanted = self._encoded(piece)
            end = filled + len(wanted)
            for name, array in some.items():
                inputs[name][filled:end] = array
            target[filled:end] = wanted
            filled = end
        return {name: array[:filled] for name, array in inputs.items()}, target[:filled]

    def _pieces(
        self, blocks: NDArray[np.int64], ends: NDArray[np.int64], start: int, stop: int
    ) -> Iterator[Columns]:
        """Raw rows of an epoch's order from `start` up to `stop`, some MiB at a time."""
        runs = list(self._runs(blocks, ends, start, stop))
        self._shards.prefetch(runs)
        waiting: list[Columns] = []
        for place, (begin, end) in enumerate(runs, 1):
            waiting.append(self._shards.read(begin, end))
            if place == len(runs) or sum(rows_of(part) for part in waiting) >= self._piece:
                yield concat(waiting)
                waiting = []

    def _runs(
        self, blocks: NDArray[np.int64], ends: NDArray[np.int64], start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """The same as runs of neighbours in the shards: first row, and the one behind the last."""
        place = int(np.searchsorted(ends, start, "right")) - 1
        while start < stop:
            begin = int(blocks[place]) * self._block + start - int(ends[place])
            count = min(stop, int(ends[place + 1])) - start
            yield begin, begin + count
            start, place = start + count, place + 1

    def _encoded(self, columns: Columns) -> Rows:
        return self._transforms.apply(columns), self._transforms.target(self._schema, columns)


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An empty array whose first value lies at a multiple of `ALIGNED` bytes."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + ALIGNED, np.uint8)
    start = -room.ctypes.data % ALIGNED
    return room[start : start + size].view(dtype).reshape(shape)
