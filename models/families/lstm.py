"""The lstm family: long short-term memory over each series, joined with all other inputs before the dense head.

Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997, with the forget gate of Gers,
Schmidhuber, Cummins, "Learning to Forget", 2000, whose bias begins at 1 (Jozefowicz, Zaremba, Sutskever, "An Empirical
Exploration of Recurrent Network Architectures", ICML 2015). The equations stand in `models/equations/lstm.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from models.errors import OptionsError
from models.families import FamilyOptions
from models.families.mlp import Width
from models.inputs import Inputs, joined
from models.outputs import Outputs


class Options(FamilyOptions):
    """Options of `family: lstm`."""

    units: tuple[Width, ...] = Field((64,), min_length=1, description="Width of each LSTM layer's state.")
    dense: tuple[Width, ...] = Field((), description="Width of each dense layer after the last state.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Part left out at random before each dense layer.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of series; float32 (rows, units) out.

    A series is a numeric input of shape (steps, features), or, where there is none, one of shape (steps,): a number a
    step. All rows have the same number of steps.

    Raises:
        OptionsError: no input is a series, or one is text.
    """
    import keras

    inputs.refuse("text", "lstm", "text")
    series = _series(inputs)
    others = [tensor for name, tensor in inputs.tensors.items() if name not in series]
    x = joined([*(_tower(tensor, options) for tensor in series.values()), *others])
    for width in options.dense:
        x = keras.layers.Dropout(options.dropout)(x) if options.dropout else x
        x = keras.layers.Dense(width, activation="relu")(x)
    x = keras.layers.Dropout(options.dropout)(x) if options.dropout else x
    return keras.Model(inputs.tensors, outputs.layer(x), name="lstm")


def _series(inputs: Inputs) -> dict[str, Any]:
    numbers = inputs.require("numeric", "lstm")
    found = {name: tensor for name, tensor in numbers.items() if len(tensor.shape) == 3}
    found = found or {name: tensor for name, tensor in numbers.items() if len(tensor.shape) == 2}
    if not found:
        shapes = ", ".join(f"{name} {spec.shape}" for name, spec in inputs.specs.items())
        raise OptionsError(
            f"Family 'lstm' needs a numeric input of shape (steps, features) or (steps,); received {shapes}. "
            "Bring the data into that shape, or use family 'mlp'."
        )
    return found


def _tower(x: Any, options: Options) -> Any:
    from keras import layers

    if len(x.shape) == 2:
        x = layers.Reshape((x.shape[1], 1))(x)
    for units in options.units[:-1]:
        x = layers.LSTM(units, return_sequences=True)(x)
    return layers.LSTM(options.units[-1])(x)
