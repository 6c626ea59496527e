"""The cnn family: convolutions on each image, concatenated with all other inputs before the dense head."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Activation, Width
from tidegate.models.networks.heads.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs


class Options(FamilyOptions):
    """Options of `family: cnn`."""

    filters: tuple[Width, ...] = Field((32, 64), min_length=1, description="Filters of each convolution.")
    kernel_size: int = Field(3, ge=1, description="Height and width of each convolution, in pixels.")
    pooling: Literal["max", "average", "none"] = Field(
        "max", description="How 2x2 pixels are reduced to one."
    )
    activation: Activation = Field("relu", description="Activation of each convolution and dense layer.")
    dense: tuple[Width, ...] = Field((128,), description="Width of each dense layer after the convolutions.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout rate before each dense layer.")
    batch_norm: bool = Field(False, description="Batch normalisation after each convolution.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of convolutions on images (height, width, channels); float32 (rows, units) out.

    Raises:
        OptionsError: no input is an image, or one is text.
    """
    import keras

    inputs.refuse("text", "cnn", "text")
    towers = [_tower(image, options) for image in inputs.require("image", "cnn").values()]
    x = joined([*towers, *inputs.without("image")])
    x = dense_head(x, options.dense, options.dropout, options.activation)
    return keras.Model(inputs.tensors, outputs.layer(x), name="cnn")


def _tower(x: Any, options: Options) -> Any:
    from keras import layers

    if len(x.shape) == 3:
        x = layers.Reshape((*x.shape[1:], 1))(x)
    for filters in options.filters:
        x = layers.Conv2D(filters, options.kernel_size, padding="same", use_bias=not options.batch_norm)(x)
        if options.batch_norm:
            x = layers.BatchNormalization()(x)
        x = layers.Activation(options.activation)(x)
        x = _pooled(x, options.pooling)
    return x


def _pooled(x: Any, pooling: str) -> Any:
    from keras import layers

    if pooling == "none" or min(x.shape[1:3]) < 2:  # a small image is pooled down to one pixel at most
        return x
    return layers.MaxPooling2D(2)(x) if pooling == "max" else layers.AveragePooling2D(2)(x)
