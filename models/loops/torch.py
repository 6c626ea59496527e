"""The loop of the torch backend: Keras' own steps, one after another, over data that stays on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from models.loops import ROWS_A_VALIDATION_BATCH, InVariables, Parts

LOOK_EVERY = 64  # batches between two looks at the loss, each of which waits for the device


class Loop(InVariables):
    """Runs one of a compiled model's steps over rows in memory.

    Args:
        step: a compiled Keras model's `train_step` or `test_step`.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows a step.
    """

    def __init__(self, step: Callable[..., Any], data: tuple[Any, ...], batch_size: int) -> None:
        self.errors = (RuntimeError, IndexError, ValueError, TypeError)
        self._step, self._size = step, batch_size
        self.load(data)

    def load(self, data: tuple[Any, ...], rows: int | None = None, before: int = 0) -> None:
        """Go through other rows from now on; see `models.loops.WindowLoop`."""
        import keras

        self._data: Any = None  # let go of those before first
        self._data, self._before = keras.tree.map_structure(keras.ops.convert_to_tensor, data), before
        self.rows = rows or len(data[1])
        self.batches = -(-self.rows // self._size)

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Go through the rows once; see `models.loops.Loop`."""
        import keras

        chosen = np.arange(self.rows) if order is None else order
        rows = keras.ops.convert_to_tensor(chosen, dtype="int64")
        for batch in range(start, self.batches):
            picked = rows[batch * self._size : (batch + 1) * self._size]
            logs = self._step(keras.tree.map_structure(lambda tensor, of=picked: tensor[of], self._data))
            done = batch + 1
            if (
                (self._before + done) % (every or LOOK_EVERY) == 0
                or done % LOOK_EVERY == 0
                or done == self.batches
            ):
                # The epoch's mean so far: not finite from some batch since the last look on.
                yield done, None if math.isfinite(float(logs["loss"])) else batch

    def batches_a_call(self) -> int:
        """There are no calls here."""
        return 1


def make_loops(parts: Parts) -> tuple[Loop, Loop | None]:
    """See `models.loops.make_loops`."""
    model, held_out = parts.model, parts.held_out
    check = None if held_out is None else Loop(model.test_step, held_out, ROWS_A_VALIDATION_BATCH)
    return Loop(model.train_step, parts.train, parts.options.batch_size), check
