"""The unet family: a class at each pixel of an image, from feature maps that shrink and grow again.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, with
padded convolutions, so that the answer is as large as the image, and batch normalization (Ioffe, Szegedy, 2015).
Growing by interpolation in place of transposed convolutions: Odena, Dumoulin, Olah, "Deconvolution and Checkerboard
Artifacts", Distill 2016.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tidegate.models.errors import OptionsError
from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs

TASKS = ("segmentation",)
# Of batch statistics, lower than usual: such data has few images, so few batches per epoch.
MOMENTUM = 0.9


class Options(FamilyOptions):
    """Options of `family: unet`."""

    filters: Width = Field(16, description="Filters at full size; each halving doubles them.")
    depth: int = Field(3, ge=1, le=8, description="How often the image is halved, and doubled again.")
    convolutions: int = Field(2, ge=1, description="Convolutions at each size, down and up.")
    upsampling: Literal["bilinear", "nearest", "transposed"] = Field(
        "bilinear",
        description="How a feature map is doubled: by interpolation, or by a transposed convolution.",
    )
    batch_norm: bool = Field(True, description="Batch normalization after each convolution.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate on the smallest feature map.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of one image (height, width, channels); float32 (rows, height, width, units) out.

    An image whose sides `2^depth` does not divide is padded with zeros inside the model, and the answer is cut again.

    Raises:
        OptionsError: the inputs are not exactly one image, the mask has another size, or the image is too small.
    """
    import keras
    from keras import layers

    images = inputs.require("image", "unet")
    if len(inputs.tensors) > 1:
        raise OptionsError(
            f"family 'unet' has the inputs {', '.join(inputs.tensors)}; expected one image; name one in data.inputs"
        )
    (image,) = images.values()
    size: tuple[int, int] = tuple(image.shape[1:3])
    _require_fitting(size, outputs.shape, options.depth)
    margins = [_margins(side, 2**options.depth) for side in size]
    x = layers.ZeroPadding2D(margins)(image) if any(map(any, margins)) else image
    x = _pyramid(x, options)
    x = layers.Cropping2D(margins)(x) if any(map(any, margins)) else x
    if outputs.shape != size:  # masks with a channel of their own
        x = layers.Reshape((*(outputs.shape or size), x.shape[-1]))(x)
    return keras.Model(inputs.tensors, outputs.layer(x), name="unet")


def _pyramid(x: Any, options: Options) -> Any:
    """Features (rows, height, width, filters) of an image whose sides can be halved `depth` times."""
    from keras import layers

    sides = []
    for level in range(options.depth):
        x = _convolved(x, options.filters << level, options)
        sides.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _convolved(x, options.filters << options.depth, options)
    x = layers.Dropout(options.dropout)(x) if options.dropout else x
    for level in reversed(range(options.depth)):
        x = _doubled(x, options.filters << level, options)
        x = _convolved(layers.Concatenate()([sides[level], x]), options.filters << level, options)
    return x


def _convolved(x: Any, filters: int, options: Options) -> Any:
    from keras import layers

    for _ in range(options.convolutions):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=not options.batch_norm)(x)
        x = layers.BatchNormalization(momentum=MOMENTUM)(x) if options.batch_norm else x
        x = layers.ReLU()(x)
    return x


def _doubled(x: Any, filters: int, options: Options) -> Any:
    from keras import layers

    if options.upsampling == "transposed":
        return layers.Conv2DTranspose(filters, 2, strides=2)(x)
    return layers.UpSampling2D(2, interpolation=options.upsampling)(layers.Conv2D(filters, 1)(x))


def _margins(side: int, multiple: int) -> tuple[int, int]:
    """Pixels before and behind a side that make it a multiple."""
    more = -side % multiple
    return more // 2, more - more // 2


def _require_fitting(size: tuple[int, int], shape: tuple[int, ...] | None, depth: int) -> None:
    if shape is None or shape[:2] != size or shape[2:] not in ((), (1,)):
        has = "is no mask" if shape is None else f"has a shape of {' x '.join(map(str, shape))}"
        raise OptionsError(
            f"family 'unet' answers a class for each pixel of an image of {size[0]} x {size[1]}, and the target {has}; "
            "expected a mask of the image's size; give both one size"
        )
    if 2**depth > max(size):
        raise OptionsError(
            f"option 'model.depth' is {depth}, and an image of {size[0]} x {size[1]} can be halved "
            f"{max(size).bit_length() - 1} times; expected no more; lower it"
        )
