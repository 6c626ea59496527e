"""The ssd family: boxes in an image in a single pass, from feature maps of several strides.

Source: Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg, "SSD: Single Shot MultiBox Detector", ECCV 2016; deeper feature
maps are added to the finer ones as in Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tidegate.models.errors import OptionsError
from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs

TASKS = ("detection",)
# Of batch statistics, lower than usual: detection data has few images, so few batches per epoch.
MOMENTUM = 0.9


class Options(FamilyOptions):
    """Options of `family: ssd`."""

    filters: tuple[Width, ...] = Field(
        (16, 24, 40, 64),
        min_length=1,
        description="Filters after each halving of the image; the last number is repeated for further halvings.",
    )
    convolutions: int = Field(
        1, ge=1, description="Convolutions per size of the image, including the halving one."
    )
    width: Width = Field(40, description="Filters of the feature maps that boxes are predicted from.")
    box_width: Width = Field(24, description="Features per default box.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate on these features.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of one image (height, width, channels); float32 (rows, default boxes, units) out.

    Raises:
        OptionsError: the inputs are not exactly one image.
    """
    import keras
    from keras import layers

    images = inputs.require("image", "ssd")
    if len(inputs.tensors) > 1:
        raise OptionsError(
            f"family 'ssd' has the inputs {', '.join(inputs.tensors)}; expected one image; name one in data.inputs"
        )
    (image,) = images.values()
    maps = _pyramid(image, max(grid.stride for grid in outputs.grids), options)
    found = []
    for grid in outputs.grids:
        x = _convolved(maps[grid.stride], options.width)
        x = layers.Conv2D(len(grid.shapes) * options.box_width, 3, padding="same", activation="relu")(x)
        found.append(layers.Reshape((-1, options.box_width))(x))
    x = layers.Concatenate(axis=1)(found) if len(found) > 1 else found[0]
    x = layers.Dropout(options.dropout)(x) if options.dropout else x
    return keras.Model(inputs.tensors, outputs.layer(x), name="ssd")


def _pyramid(image: Any, deepest: int, options: Options) -> dict[int, Any]:
    """Feature maps by stride, each (rows, height / stride, width / stride, width), rounded up."""
    from keras import layers

    x, maps, stride = image, dict[int, Any](), 1
    while stride < deepest:
        filters = options.filters[min(len(maps), len(options.filters) - 1)]
        x = _convolved(x, filters, strides=2)
        for _ in range(options.convolutions - 1):
            x = _convolved(x, filters)
        stride *= 2
        maps[stride] = x
    above = None
    for stride in sorted(maps, reverse=True):
        y = layers.Conv2D(options.width, 1)(maps[stride])
        if above is not None:
            y = layers.Add()([y, _cut(layers.UpSampling2D(2)(above), y)])
        maps[stride] = above = y
    return maps


def _convolved(x: Any, filters: int, strides: int = 1) -> Any:
    from keras import layers

    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))


def _cut(x: Any, like: Any) -> Any:
    """Crop a doubled feature map, which may have one row and one column too many."""
    from keras import layers

    more = [one - other for one, other in zip(x.shape[1:3], like.shape[1:3], strict=True)]
    return layers.Cropping2D(((0, more[0]), (0, more[1])))(x) if any(more) else x
