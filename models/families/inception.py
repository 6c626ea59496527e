"""The inception family: blocks with several filter sizes on each image, then global average pooling.

Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015: each block concatenates a 1x1, a 3x3 and a 5x5
convolution and a pooling, the larger ones after a 1x1 convolution that makes them cheap; global average pooling as in
Lin, Chen, Yan, "Network In Network", 2013. The 5x5 convolution is two of 3x3, and every convolution has batch
normalisation, as in Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.networks.heads.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs


class Options(FamilyOptions):
    """Options of `family: inception`."""

    stem: int = Field(32, ge=1, description="Filters of the first convolution, which is followed by pooling.")
    stages: tuple[tuple[Width, ...], ...] = Field(
        ((64, 64), (128, 128)),
        min_length=1,
        description="Filters of each stage's blocks; the image is halved between stages.",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout rate before the outputs.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of inception blocks on images (height, width, channels); float32 (rows, units) out.

    Raises:
        OptionsError: no input is an image, or one is text.
    """
    import keras

    inputs.refuse("text", "inception", "text")
    towers = [_tower(image, options) for image in inputs.require("image", "inception").values()]
    x = joined([*towers, *inputs.without("image")])
    x = dense_head(x, (), options.dropout)
    return keras.Model(inputs.tensors, outputs.layer(x), name="inception")


def _tower(x: Any, options: Options) -> Any:
    from keras import layers

    x = _halved(_convolution(x, options.stem, 3))
    for place, widths in enumerate(options.stages):
        x = _halved(x) if place else x
        for width in widths:
            x = _block(x, width)
    return layers.GlobalAveragePooling2D()(x)


def _block(x: Any, width: int) -> Any:
    """A quarter of the filters are 1x1, half 3x3, an eighth 5x5, and an eighth follow a max pooling."""
    from keras import layers

    narrow, eighth = max(1, width // 4), max(1, width // 8)
    middle = _convolution(_convolution(x, narrow, 1), max(1, width // 2), 3)
    large = _convolution(_convolution(_convolution(x, eighth, 1), eighth, 3), eighth, 3)
    near = _convolution(layers.MaxPooling2D(3, strides=1, padding="same")(x), eighth, 1)
    return layers.Concatenate()([_convolution(x, narrow, 1), middle, large, near])


def _convolution(x: Any, filters: int, size: int) -> Any:
    from keras import layers

    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _halved(x: Any) -> Any:
    from keras import layers

    return x if min(x.shape[1:3]) < 2 else layers.MaxPooling2D(2)(x)
