"""`training.backend: numpy`: epochs computed by the equations; after each, the Keras model gets the weights.

Callbacks, schedules, metrics and the order of batches are the same as for every other backend (`training.fit`); what an
epoch computes is in `equations.loop.learn`, line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.models.config.losses import Loss
from tidegate.models.equations import Array
from tidegate.models.equations.from_keras import ConvertedNetwork
from tidegate.models.equations.loop import Momentum, learn
from tidegate.models.equations.losses import LOSSES, mean_loss
from tidegate.models.errors import OptionsError
from tidegate.models.loops import LoopSpec


class NumpyLoop:
    """Runs over rows in memory with the equations, as `loops.tensorflow.Loop` does with Keras.

    Args:
        model: the compiled Keras model; gets the weights, loss and metrics at the end of each run.
        network: the same network in the equations; shared by training and validation.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows per step.
        loss: one of `equations.losses.LOSSES`, without options.
        trains: whether to train on the rows, or only to evaluate them.
    """

    errors = (ValueError, TypeError)

    def __init__(
        self,
        model: Any,
        network: ConvertedNetwork,
        data: tuple[Any, ...],
        batch_size: int,
        loss: Loss,
        trains: bool,
    ) -> None:
        self._model, self._converted, self._trains = model, network, trains
        self._inputs, self._target = network.inputs(data[0]), data[1]
        self._expected = _as_outputs(data[1], loss, model.outputs[0].shape[-1])
        self._weights: Array | None = data[2].astype(np.float64) if len(data) > 2 else None
        self._loss = LOSSES[loss.name]
        optimizer = model.optimizer
        self._momentum = Momentum(float(optimizer.momentum), bool(optimizer.nesterov))
        self._scheduled = isinstance(optimizer.get_config()["learning_rate"], dict)
        self._size = batch_size
        self._total, self._answers = 0.0, list[Array]()
        self.rows = len(self._target)
        self.batches = -(-self.rows // batch_size)

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Run over the rows once, yielding after every batch; see `loops.Loop`."""
        del every  # it yields after each batch anyway
        order = np.arange(self.rows) if order is None else order
        self._rate = float(self._model.optimizer.learning_rate)
        if start == 0:
            self._total, self._answers = 0.0, []
        for batch in range(start, self.batches):
            chosen = order[batch * self._size : (batch + 1) * self._size]
            with np.errstate(over="ignore", invalid="ignore"):  # reported below, with the batch
                value, predictions = self._batch(chosen)
            self._total += value * len(chosen)
            self._answers.append(predictions)
            yield batch + 1, None if np.isfinite(value) else batch
        self._report(self._total / self.rows, np.concatenate(self._answers), order)

    def state(self) -> dict[str, np.ndarray]:
        """The float64 parameters and velocities, the state of Dropout's generator, and the epoch so far."""
        arrays = {f"parameter/{i}": array for i, array in enumerate(self._converted.network.parameters)}
        arrays |= {f"velocity/{i}": array for i, array in enumerate(self._momentum.velocities)}
        arrays["random"] = np.array(json.dumps(self._converted.random.bit_generator.state))
        arrays["total"] = np.array(self._total)
        arrays["answers"] = np.concatenate(self._answers) if self._answers else np.zeros((0, 0))
        return arrays

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`."""
        for index, parameter in enumerate(self._converted.network.parameters):
            parameter[...] = state[f"parameter/{index}"]
        count = sum(name.startswith("velocity/") for name in state)
        self._momentum.velocities = [state[f"velocity/{index}"].copy() for index in range(count)]
        self._converted.random.bit_generator.state = json.loads(str(state["random"]))
        self._total = float(state["total"])
        self._answers = [state["answers"]] if len(state["answers"]) else []

    def batches_a_call(self) -> int:
        """Always 1: every batch is a call."""
        return 1

    def _batch(self, chosen: np.ndarray) -> tuple[float, Array]:
        inputs = {name: array[chosen] for name, array in self._inputs.items()}
        target = self._expected[chosen]
        weights = None if self._weights is None else self._weights[chosen]
        if self._trains:
            return learn(self._converted.network, self._loss, inputs, target, self._update, weights)
        predictions = self._converted.network.forward(inputs)
        return mean_loss(self._loss, predictions, target, weights)[0], predictions

    def _update(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        self._momentum(parameters, gradients, self._rate)
        if self._scheduled:  # Keras computes the rate from the batches so far
            self._model.optimizer.iterations.assign_add(1)
            self._rate = float(self._model.optimizer.learning_rate)

    def _report(self, loss: float, answers: Array, order: np.ndarray) -> None:
        if self._trains:
            self._converted.write()
        tracker = next(metric for metric in self._model.metrics if metric.name == "loss")
        tracker.update_state(loss)
        self._model.compute_metrics(None, self._target[order], answers.astype(np.float32))


def make_loops(parts: LoopSpec) -> tuple[NumpyLoop, NumpyLoop | None]:
    """See `loops.make_loops`.

    Raises:
        OptionsError: the model or the loss has no equation here.
    """
    loss, size = parts.loss, parts.options.batch_size
    if loss.name not in LOSSES or loss.options:
        raise OptionsError(
            f"option 'training.backend' is 'numpy', which has no equation for loss {loss.name!r} with "
            f"{loss.options or 'no options'}; expected one of, without options: {', '.join(LOSSES)}; "
            "choose one of them, or leave backend out"
        )
    model, held_out = parts.model, parts.held_out
    network = ConvertedNetwork(model, parts.seed)
    check = None if held_out is None else NumpyLoop(model, network, held_out, size, loss, trains=False)
    return NumpyLoop(model, network, parts.train, size, loss, trains=True), check


def _as_outputs(target: np.ndarray, loss: Loss, units: int) -> Array:
    """The target in the shape of the outputs, float64 (rows, units); class indices become ones and zeros."""
    return np.eye(units)[target] if loss.target == "index" else target.astype(np.float64)
