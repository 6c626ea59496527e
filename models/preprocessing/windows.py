"""Shuffle training rows that stay on disk: which rows are in memory when, and how they are read.

An epoch is a sequence of windows of rows. The rows are stored in blocks of neighbours; each epoch draws an order of all
blocks from the training's seed and the epoch's number, cuts it into windows of `size` rows, and shuffles the rows
within each window. So a row's position depends only on the seed and the epoch, and a killed training resumes at a batch
by reading only the window that contains it. This mixes better than a shuffle buffer over consecutive files: a window
has rows from all parts of the data, even if the data is sorted by class.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, concat, rows_of
from tidegate.models.data.shards import Shards
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.preprocessing.weights import weights_of

PART = 32  # an encoded window may take 1 / PART of the memory; there are two at a time
BLOCK_BYTES = 256 << 10  # neighbours that are read at once
LEAST_BLOCKS = 64  # per window
PIECE_BYTES = 1 << 20  # of rows that are encoded at once: they fit into a core's own cache
ALIGNED = 64  # bytes: the alignment that TensorFlow and XLA need to use memory without a copy

Rows = tuple[dict[str, Array], Array] | tuple[dict[str, Array], Array, Array]  # the third: the rows' weights


class ShuffleWindows:
    """Reads the training rows of shards window by window.

    Args:
        paths: the shards.
        schema, transforms: for encoding the rows.
        counts: training rows of each class, int64 (classes,); empty without classes.
        memory: bytes that a step may use.
        batch_size: rows per batch; the size of a window is a multiple of it.
        buffer: rows of a window; None: as many as fit into 1 / PART of the memory.
        weight: the column of the rows' weights; None: they have none.
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
        weight: str | None = None,
    ) -> None:
        self._weight = weight
        self._shards, self._schema, self._transforms = Shards(paths), schema, transforms
        self.counts, self.rows = counts, self._shards.rows
        some = self._encoded(self._shards.read(0, 1))
        self.example = some
        width = sum(array.nbytes for array in (*some[0].values(), some[1]))
        limit = buffer or memory // PART // max(1, width)
        batches = -(-self.rows // batch_size)
        windows = -(-batches // max(1, limit // batch_size))
        self.size = -(-batches // windows) * batch_size  # equal windows: none waits for a longer one
        raw = max(1, self._shards.bytes // self.rows)
        self._block = max(1, min(BLOCK_BYTES // raw, self.size // LEAST_BLOCKS))
        self._piece = max(1, PIECE_BYTES // max(raw, width))
        self._blocks = -(-self.rows // self._block)
        self.windows = -(-self.rows // self.size)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="window")
        self._prefetched: tuple[NDArray[np.int64], Future[Rows]] | None = None
        self._buffers: dict[int, Rows] = {}
        self._buffer = 0
        self._only_window: Rows | None = None

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """An epoch's order: the blocks in order, followed by a seed for each window."""
        blocks = generator.permutation(self._blocks)
        return np.concatenate([blocks, generator.integers(2**62, size=self.windows)])

    def row_order(self, order: NDArray[np.int64], window: int) -> NDArray[np.int32]:
        """The order of the rows within a window, int32."""
        rows = min(self.size, self.rows - window * self.size)
        seed = int(order[self._blocks + window])
        drawn = np.random.default_rng(seed).permutation(rows).astype(np.int32)
        if self.windows > 1:
            return drawn
        # A single window stays in memory for all epochs, with its blocks in the order on disk.
        blocks, ends = self._ends(order)
        return (np.repeat(blocks * self._block - ends[:-1], np.diff(ends)) + np.arange(rows))[drawn].astype(
            np.int32
        )

    def read(
        self, order: NDArray[np.int64], first: int, following: NDArray[np.int64] | None = None
    ) -> Generator[Rows, None, None]:
        """The windows of an epoch, starting with window `first`; the next one is read while one is used.

        A window's arrays are aligned to `ALIGNED` bytes, and are overwritten after the next window was requested.

        Args:
            order: from `order`.
            first: the number of the first window to read.
            following: the order of the next epoch, whose first window is read while the last one here is used.
        """
        coming = self._first_window(order, first)
        try:
            for window in range(first, self.windows):
                rows = coming.result()
                if window + 1 < self.windows:
                    coming = self._submit(order, window + 1)
                elif following is not None:
                    self._prefetched = following, self._submit(following, 0)
                yield rows
        finally:
            if self._prefetched is None:
                self._drop_prefetched()

    def _first_window(self, order: NDArray[np.int64], first: int) -> Future[Rows]:
        """The first window, which may be prefetched."""
        if self._prefetched is not None and first == 0 and np.array_equal(self._prefetched[0], order):
            coming, self._prefetched = self._prefetched[1], None
            return coming
        self._drop_prefetched()
        return self._submit(order, first)

    def _submit(self, order: NDArray[np.int64], window: int) -> Future[Rows]:
        """Read a window into the buffer that the previous window does not use."""
        if self.windows == 1:
            return self._pool.submit(self._all)
        self._buffer = 1 - self._buffer
        blocks, ends = self._ends(order)
        return self._pool.submit(self._window, blocks, ends, window, self._buffer)

    def _drop_prefetched(self) -> None:
        """Forget the prefetched window and wait until it was read: afterwards its buffer is free."""
        self._prefetched = None
        self._pool.submit(lambda: None).result()

    def _ends(self, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The blocks of an order, and the positions where they begin and end in it (blocks + 1,)."""
        blocks = order[: self._blocks]
        return blocks, np.cumsum([0, *np.minimum(self._block, self.rows - blocks * self._block)])

    def _all(self) -> Rows:
        """All rows, if they fit into a single window."""
        if self._only_window is None:
            self._only_window = self._window(*self._ends(np.arange(self._blocks)), 0, 0)
        return self._only_window

    def _window(self, blocks: NDArray[np.int64], ends: NDArray[np.int64], window: int, buffer: int) -> Rows:
        """The rows of a window, in the order of its blocks."""
        start, stop = window * self.size, min((window + 1) * self.size, self.rows)
        if buffer not in self._buffers:
            self._buffers[buffer] = self._room(min(self.size, self.rows))
        inputs, *others = self._buffers[buffer]
        filled = 0
        for piece in self._pieces(blocks, ends, start, stop):
            some, *encoded = self._encoded(piece)
            end = filled + len(encoded[0])
            for name, array in some.items():
                inputs[name][filled:end] = array
            for room, array in zip(others, encoded, strict=True):
                room[filled:end] = array
            filled = end
        return _rows(
            {name: array[:filled] for name, array in inputs.items()}, [one[:filled] for one in others]
        )

    def _room(self, rows: int) -> Rows:
        """Memory for so many rows."""
        some, *encoded = self.example
        arrays = {name: aligned((rows, *array.shape[1:]), array.dtype) for name, array in some.items()}
        return _rows(arrays, [aligned((rows, *array.shape[1:]), array.dtype) for array in encoded])

    def _pieces(
        self, blocks: NDArray[np.int64], ends: NDArray[np.int64], start: int, stop: int
    ) -> Iterator[Columns]:
        """Raw rows of an epoch's order from `start` up to `stop`, a few MiB at a time."""
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
        """The same as runs of neighbours in the shards: first row and end row (exclusive)."""
        place = int(np.searchsorted(ends, start, "right")) - 1
        while start < stop:
            begin = int(blocks[place]) * self._block + start - int(ends[place])
            count = min(stop, int(ends[place + 1])) - start
            yield begin, begin + count
            start, place = start + count, place + 1

    def _encoded(self, columns: Columns) -> Rows:
        weights = [] if self._weight is None else [weights_of(self._weight, columns)]
        return _rows(
            self._transforms.apply(columns), [self._transforms.target(self._schema, columns), *weights]
        )


def _rows(inputs: dict[str, Array], others: Sequence[Array]) -> Rows:
    """Inputs, target and perhaps weights."""
    return (inputs, others[0]) if len(others) == 1 else (inputs, others[0], others[1])


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An empty array whose memory is aligned to `ALIGNED` bytes."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)
