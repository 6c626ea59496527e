"""The linear family: softmax, logistic or linear regression on all inputs, the baseline to beat."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tidegate.models.families import FamilyOptions
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs


class Options(FamilyOptions):
    """Options of `family: linear`."""

    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate on the inputs.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model with one dense layer from all inputs, flattened and concatenated, to the outputs.

    Raises:
        OptionsError: an input is text.
    """
    import keras

    inputs.refuse("text", "linear", "text")
    x = joined(list(inputs.embedded().values()))
    if options.dropout:
        x = keras.layers.Dropout(options.dropout)(x)
    return keras.Model(inputs.tensors, outputs.layer(x), name="linear")
