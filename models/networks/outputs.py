"""A model's outputs: their shape and activation, and the last layer that produces them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tidegate.models.config.losses import Loss, dense_task, loss_named
from tidegate.models.data.default_boxes import OFFSETS, Grid
from tidegate.models.errors import OptionsError

if TYPE_CHECKING:
    from keras import KerasTensor

Activation = Literal["softmax", "sigmoid", "linear"]


@dataclass(frozen=True)
class Outputs:
    """What a family's or a user's `build` ends its model with.

    Args:
        units: width of the model's output, which is float32 (rows, units); for texts (rows, steps, units), the token
            probabilities after each step; for boxes (rows, default boxes, units), the logits of no box and of each
            class, then four offsets, see `preprocessing.target.box_target`.
        activation: "softmax" for several classes, "sigmoid" for a probability, of one class or of each label, "linear"
            for numbers.
        grids: the default boxes of a detection: grid by grid, in a grid row by row from the top.
        logits: the user's model ends in logits, and `with_probabilities` adds the activation to it.
        shape: of a dense answer's row: for a class at each place the output is (rows, *shape, units), for numbers
            (rows, *shape); None: an answer has no shape of its own.
        name: of the last layer.
        tokens: whether the places are a text's tokens; then `networks.token_mask` adds a class, of no token, to the
            units.
        quantiles: of a forecast, how many each step has; the units are step by step, each with its quantiles.
    """

    units: int
    activation: Activation
    grids: tuple[Grid, ...] = ()
    logits: bool = False
    shape: tuple[int, ...] | None = None
    name: str = "output"
    tokens: bool = False
    quantiles: int = 0

    def boxes(self, height: int, width: int) -> int:
        """The number of default boxes for an image of this size."""
        return sum(math.prod(grid.places(height, width)) * len(grid.shapes) for grid in self.grids)

    def layer(self, x: KerasTensor) -> KerasTensor:
        """Return the output for features `x` (rows, any); never less than float32, also under mixed precision."""
        import keras

        precision = keras.config.floatx()
        last: Any = keras.layers.Dense(
            self.units, activation=self.activation, dtype=precision, name=self.name
        )
        return last(x)

    def with_probabilities(self, model: Any) -> Any:
        """Return a model that ends in logits with the activation behind it, so that it answers probabilities.

        Keras computes a cross-entropy from the logits before such an activation, as with `from_logits`.
        """
        import keras

        last: Any = keras.layers.Activation(
            self.activation, dtype=keras.config.floatx(), name="probabilities"
        )
        inputs = {tensor.name: tensor for tensor in model.inputs}
        return keras.Model(inputs, last(model.outputs[0]), name=model.name)


def outputs_for(
    task: str,
    classes: int,
    values: int,
    loss: str | dict[str, Any] | None = None,
    grids: tuple[Grid, ...] = (),
    shape: tuple[int, ...] | None = None,
    quantiles: int = 0,
) -> Outputs:
    """Return the outputs that a task needs with a loss.

    Args:
        task: of `preprocessing.schema.Task`.
        classes: number of classes or labels, or of a text's tokens; ignored for regression.
        values: number of predicted numbers per row; ignored for classification.
        loss: the experiment's `training.loss`, or None for the task's default.
        grids: the default boxes of a detection.
        shape: of a dense target's row, see `Outputs`.
        quantiles: of a forecast, see `Outputs`.

    Raises:
        OptionsError: the loss is unknown or does not fit the task.
    """
    chosen = loss_named(loss, dense_task(task, shape), classes)
    kind = chosen.target
    if kind == "probability":
        return Outputs(1, "sigmoid", logits=chosen.logits, shape=shape)
    if kind == "labels":
        return Outputs(classes, "sigmoid", logits=chosen.logits)
    if task == "tagging":
        _refuse_logits(chosen)
        return Outputs(classes - 1, "softmax", shape=shape, tokens=True)
    if kind in ("index", "one_hot", "tokens"):
        return Outputs(classes, "softmax", logits=chosen.logits, shape=shape)
    if kind == "boxes":
        return Outputs(1 + classes + OFFSETS, "linear", grids)
    if quantiles:
        return Outputs(values * quantiles, "linear", quantiles=quantiles)
    return Outputs(values, "linear", shape=shape)


def _refuse_logits(loss: Loss) -> None:
    """Refuse logits of a label for each token: the class of no token, which is added behind them, has none."""
    if loss.logits:
        raise OptionsError(
            f"loss {loss.name!r} has from_logits: true, and the target has a label for each token; expected "
            "probabilities; end the model with a softmax, as outputs.layer(x) does, and leave from_logits out"
        )
