"""The mlp family: dense layers on all inputs, flattened and concatenated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tidegate.models.families import FamilyOptions
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs

Width = Annotated[int, Field(ge=1)]
Activation = Literal["relu", "gelu", "silu", "elu", "selu", "tanh", "sigmoid", "leaky_relu"]


class Options(FamilyOptions):
    """Options of `family: mlp`."""

    hidden: tuple[Width, ...] = Field((128, 64), description="Width of each hidden layer, first to last.")
    activation: Activation = Field("relu", description="Activation of each hidden layer.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate after each hidden layer.")
    batch_norm: bool = Field(False, description="Batch normalisation of each hidden layer.")
    l2: float = Field(0.0, ge=0, description="Factor of the L2 penalty on the hidden layers' weights.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of dense layers; float32 (rows, units) out.

    Raises:
        OptionsError: an input is text.
    """
    import keras

    inputs.refuse("text", "mlp", "text")
    x = dense_layers(joined(list(inputs.embedded().values())), options)
    return keras.Model(inputs.tensors, outputs.layer(x), name="mlp")


def dense_layers(x: Any, options: Options) -> Any:
    """Return features `x` (rows, any) after the hidden layers: dense, normalisation, activation, dropout."""
    from keras import layers, regularizers

    for width in options.hidden:
        penalty = regularizers.L2(options.l2) if options.l2 else None
        x = layers.Dense(width, use_bias=not options.batch_norm, kernel_regularizer=penalty)(x)
        if options.batch_norm:
            x = layers.BatchNormalization()(x)
        x = layers.Activation(options.activation)(x)
        if options.dropout:
            x = layers.Dropout(options.dropout)(x)
    return x
