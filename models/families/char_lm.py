"""The char_lm family: a recurrent language model, which continues a text token by token.

Source: Graves, "Generating Sequences With Recurrent Neural Networks", 2013: LSTM layers over the tokens so far, each
also connected to the output. Tokens are characters or words, as the target says.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs

TASKS = ("generation",)


class Options(FamilyOptions):
    """Options of `family: char_lm`."""

    cell: Literal["lstm", "gru"] = Field("lstm", description="Kind of the recurrent layers.")
    units: tuple[Width, ...] = Field(
        (256,), min_length=1, description="Width of each recurrent layer's state."
    )
    embedding: int = Field(64, ge=1, description="Size of a token's embedding.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate before the outputs.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of a text's tokens so far, int32 (rows, steps); float32 (rows, steps, units) out.

    Raises:
        OptionsError: there are other inputs besides the text.
    """
    import keras
    from keras import layers

    inputs.refuse_beside((), "char_lm", "seq2seq")
    ((name, prefix),) = inputs.of_kind("prefix").items()
    cell = layers.LSTM if options.cell == "lstm" else layers.GRU
    x = layers.Embedding(inputs.specs[name].vocabulary, options.embedding)(prefix)
    states = []
    for units in options.units:
        x = cell(units, return_sequences=True)(x)
        states.append(x)
    x = layers.Concatenate()(states) if len(states) > 1 else x
    x = layers.Dropout(options.dropout)(x) if options.dropout else x
    return keras.Model(inputs.tensors, outputs.layer(x), name="char_lm")
