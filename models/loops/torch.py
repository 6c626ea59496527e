"""The loop of the torch backend: Keras' own steps, one after another, over data that stays on the device.

Nothing is compiled. The overhead of `Model.fit`, its iterator and callbacks, is avoided; whether the losses are finite
is checked once per call, because each check waits for the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tidegate.models.loops import VALIDATION_BATCH, CallPacer, LoopSpec, rows_in


class Loop:
    """Runs one of a compiled model's steps over rows in memory.

    Args:
        step: a compiled Keras model's `train_step` or `test_step`.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows per step.
        learns: the step needs gradients.
        seconds_a_call: the intended time of a call.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        data: tuple[Any, ...],
        batch_size: int,
        learns: bool,
        seconds_a_call: float = 0.25,
    ) -> None:
        self.errors = (RuntimeError, IndexError, ValueError, TypeError)
        self._step, self._size, self._learns = step, batch_size, learns
        self._pace = CallPacer(seconds_a_call)
        self.load(data)

    def load(self, data: tuple[Any, ...], rows: int | None = None, before: int = 0) -> None:
        """Run over other rows from now on; see `loops.WindowLoop`."""
        import keras

        self._data: Any = None  # free the previous rows first
        self._data, self._before = keras.tree.map_structure(keras.ops.convert_to_tensor, data), before
        self.rows = rows or rows_in(data)
        self.batches = -(-self.rows // self._size)

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Run over the rows once; see `loops.Loop`."""
        import keras

        rows = keras.ops.convert_to_tensor(np.arange(self.rows) if order is None else order, "int32")
        done = start
        while done < self.batches:
            stop = self._pace.stop(done, self.batches, every, self._before)
            began = time.perf_counter()
            bad = self._call(rows, done, stop)
            self._pace.adapt(began, stop - done)
            done = stop
            yield done, bad

    def _call(self, rows: Any, start: int, stop: int) -> int | None:
        """Run some batches; return the first at which the loss, the epoch's mean so far, was not finite."""
        import keras
        import torch

        losses = []
        with torch.set_grad_enabled(self._learns):
            for batch in range(start, stop):
                of = rows[batch * self._size : (batch + 1) * self._size]
                logs = self._step(keras.tree.map_structure(lambda tensor, of=of: tensor[of], self._data))
                losses.append(logs["loss"].detach())
        broken = torch.nonzero(~torch.isfinite(torch.stack(losses)))
        return start + int(broken[0]) if len(broken) else None

    def state(self) -> dict[str, np.ndarray]:
        """The state of PyTorch's random generators: a Dropout without a seed uses them, not a Keras variable."""
        import torch

        states = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        return {device: state.numpy() for device, state in states.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`."""
        import torch

        torch.set_rng_state(torch.from_numpy(state["cpu"]))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(torch.from_numpy(state["cuda"]))

    def batches_a_call(self) -> int:
        """See `loops.CallPacer`."""
        return self._pace.batches


def make_loops(parts: LoopSpec) -> tuple[Loop, Loop | None]:
    """See `loops.make_loops`."""
    model, held_out = parts.model, parts.held_out
    check = None
    if held_out is not None:
        check = Loop(model.test_step, held_out, VALIDATION_BATCH, learns=False)
    return Loop(model.train_step, parts.train, parts.options.batch_size, learns=True), check
