"""What a model has to answer: the shape, the activation and the last layer that both follow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models.losses import loss_named

if TYPE_CHECKING:
    from keras import KerasTensor

Activation = Literal["softmax", "sigmoid", "linear"]


@dataclass(frozen=True)
class Outputs:
    """What a family's or a user's `build` ends its model with.

    Args:
        units: width of the model's output, so that it answers float32 of shape (rows, units); of a text
            (rows, steps, units), the tokens' probabilities after each step.
        activation: "softmax" for several classes, "sigmoid" for one probability, "linear" for numbers.
    """

    units: int
    activation: Activation

    def layer(self, x: KerasTensor) -> KerasTensor:
        """Return the output for features `x` (rows, any); float32 also under mixed precision."""
        import keras

        last: Any = keras.layers.Dense(self.units, activation=self.activation, dtype="float32", name="output")
        return last(x)


def outputs_for(task: str, classes: int, values: int, loss: str | dict[str, Any] | None = None) -> Outputs:
    """Return the outputs a task needs under a loss.

    Use it once a trial, before the model is built.

    Args:
        task: "classification", "regression" or "generation".
        classes: number of classes, or of a text's tokens; ignored for regression.
        values: number of numbers a row predicts; ignored for classification.
        loss: the experiment's `training.loss`, or None for the task's default.

    Raises:
        OptionsError: the loss is unknown or does not fit the task.
    """
    kind = loss_named(loss, task, classes).target
    if kind == "probability":
        return Outputs(1, "sigmoid")
    if kind in ("index", "one_hot", "tokens"):
        return Outputs(classes, "softmax")
    return Outputs(values, "linear")
