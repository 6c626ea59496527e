"""`training.backend: numpy`: epochs by the equations, for a Keras model that has the weights after each.

Callbacks, schedules, metrics and the order of batches are those of every other backend (`models.fit`); what an
epoch computes is in `models.equations.loop.learn`, line by line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models.equations import Array
from models.equations.loop import Momentum, learn
from models.equations.losses import LOSSES, mean_loss
from models.errors import OptionsError
from models.losses import Loss
from models.numpy_twin import Twin


class NumpyLoop:
    """Goes through rows in memory by the equations, as `models.loop.Loop` does by Keras.

    Args:
        model: the compiled Keras model; gets the weights, loss and metrics at the end of each run.
        twin: the same network in the equations; shared by training and validation.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows a step.
        loss: from `supported_loss`.
        trains: whether to learn from the rows, or only to look.
    """

    def __init__(
        self, model: Any, twin: Twin, data: tuple[Any, ...], batch_size: int, loss: Loss, trains: bool
    ) -> None:
        self._model, self._twin, self._trains = model, twin, trains
        self._inputs, self._target = twin.inputs(data[0]), data[1]
        self._expected = _as_outputs(data[1], loss, model.outputs[0].shape[-1])
        self._weights: Array | None = data[2].astype(np.float64) if len(data) > 2 else None
        self._loss = LOSSES[loss.name]
        optimizer = model.optimizer
        self._momentum = Momentum(float(optimizer.momentum), bool(optimizer.nesterov))
        self._scheduled = isinstance(optimizer.get_config()["learning_rate"], dict)
        self._size = batch_size
        self.rows = len(self._target)
        self.batches = -(-self.rows // batch_size)

    def run(self, order: np.ndarray | None = None) -> Iterator[tuple[int, int | None]]:
        """Go through the rows once; yield batches done and the last one's number if its loss is not finite, or None.

        Args:
            order: int32 row indices (rows,), each once; None keeps the rows' own order.
        """
        order = np.arange(self.rows) if order is None else order
        self._rate = float(self._model.optimizer.learning_rate)
        total, answers = 0.0, []
        for batch in range(self.batches):
            chosen = order[batch * self._size : (batch + 1) * self._size]
            with np.errstate(over="ignore", invalid="ignore"):  # told below, with the batch
                value, predictions = self._batch(chosen)
            total += value * len(chosen)
            answers.append(predictions)
            yield batch + 1, None if np.isfinite(value) else batch
        self._report(total / self.rows, np.concatenate(answers), order)

    def _batch(self, chosen: np.ndarray) -> tuple[float, Array]:
        inputs = {name: array[chosen] for name, array in self._inputs.items()}
        target = self._expected[chosen]
        weights = None if self._weights is None else self._weights[chosen]
        if self._trains:
            return learn(self._twin.network, self._loss, inputs, target, self._update, weights)
        predictions = self._twin.network.forward(inputs)
        return mean_loss(self._loss, predictions, target, weights)[0], predictions

    def _update(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        self._momentum(parameters, gradients, self._rate)
        if self._scheduled:  # Keras computes the rate from the batches so far
            self._model.optimizer.iterations.assign_add(1)
            self._rate = float(self._model.optimizer.learning_rate)

    def _report(self, loss: float, answers: Array, order: np.ndarray) -> None:
        if self._trains:
            self._twin.write()
        tracker = next(metric for metric in self._model.metrics if metric.name == "loss")
        tracker.update_state(loss)
        self._model.compute_metrics(None, self._target[order], answers.astype(np.float32))


def numpy_loops(
    model: Any,
    train: tuple[Any, ...],
    held_out: tuple[Any, ...] | None,
    batch_size: int,
    loss: Loss,
    seed: int,
) -> tuple[NumpyLoop, NumpyLoop | None]:
    """Return what goes through the training rows and, where there are some, the held-out rows.

    Args:
        model: the compiled Keras model.
        train, held_out: see `NumpyLoop`.
        batch_size: rows a step.
        loss: the experiment's.
        seed: seeds what Dropout leaves out.

    Raises:
        OptionsError: the model or the loss has no equation here.
    """
    if loss.name not in LOSSES or loss.options:
        raise OptionsError(
            f"Option 'training.backend' is 'numpy', which has no equation for loss {loss.name!r} with "
            f"{loss.options or 'no options'}. Known here, without options: {', '.join(LOSSES)}. "
            "Choose one of them, or leave backend out."
        )
    twin = Twin(model, seed)
    check = None if held_out is None else NumpyLoop(model, twin, held_out, batch_size, loss, trains=False)
    return NumpyLoop(model, twin, train, batch_size, loss, trains=True), check


def _as_outputs(target: np.ndarray, loss: Loss, units: int) -> Array:
    """The target in the shape of the outputs, float64 (rows, units); class indices become ones and zeros."""
    return np.eye(units)[target] if loss.target == "index" else target.astype(np.float64)
