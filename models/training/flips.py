"""Random flips of images in training, and the inverse flip of a model's outputs: of boxes, or of values at pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegate.models.data.default_boxes import OFFSETS, Grid
from tidegate.models.keras_private import keep_logits, logits_beside

AXES = {"vertical": 1, "horizontal": 2}  # of (rows, down, across, ...)
CENTRES = {"vertical": 1, "horizontal": 0}  # the offset whose sign changes


def flip(images: Any, axis: str, layer: Any) -> tuple[Any, Any]:
    """Images (rows, height, width, channels) after Keras' random flips, and which were flipped (rows,).

    The layer does not report what it flipped. So the images get one more channel, which is 1 at one edge only.
    """
    from keras import ops

    height, width = images.shape[1:3]
    edge = np.zeros((1, height, width, 1), np.float32)
    edge[:, (-1 if axis == "vertical" else slice(None)), (-1 if axis == "horizontal" else slice(None))] = 1
    marked = ops.concatenate([images, ops.zeros_like(images[..., :1]) + edge], axis=-1)
    turned = layer(marked)
    return turned[..., :-1], turned[:, 0, 0, -1]


def flip_places_back(answers: Any, flipped: Any, axis: str) -> Any:
    """Outputs (rows, height, width, ...) for the images before they were flipped.

    Args:
        answers: the model's outputs.
        flipped: 1 if an image was flipped (rows,).
        axis: of the flips.
    """
    import keras

    def back(given: Any) -> Any:
        """With the logits of probabilities, of which a cross-entropy is computed without a limit."""
        values, turned = given
        found, logits = _turned(values, turned, axis), logits_beside(values)
        if logits is not None:
            keep_logits(found, _turned(logits, turned, axis))
        return found

    return keras.layers.Lambda(back, dtype=answers.dtype)([answers, flipped])


def _turned(values: Any, flipped: Any, axis: str) -> Any:
    from keras import ops

    there = ops.reshape(flipped, (-1, *[1] * (len(values.shape) - 1))) > 0.5
    return ops.where(there, ops.flip(values, axis=AXES[axis]), values)


def flip_back(answers: Any, flipped: Any, axis: str, grids: Sequence[Grid], size: tuple[int, int]) -> Any:
    """Outputs (rows, default boxes, units) for the images before they were flipped.

    Args:
        answers: the model's outputs.
        flipped: 1 if an image was flipped (rows,).
        axis: of the flips.
        grids: the default boxes.
        size: height and width of the images.
    """
    from keras import ops

    units, begin, parts = answers.shape[-1], 0, []
    for grid in grids:
        down, across = grid.places(*size)
        count = down * across * len(grid.shapes)
        part = ops.reshape(answers[:, begin : begin + count], (-1, down, across, len(grid.shapes), units))
        parts.append(ops.reshape(ops.flip(part, axis=AXES[axis]), (-1, count, units)))
        begin += count
    signs = np.ones(units, np.float32)
    signs[units - OFFSETS + CENTRES[axis]] = -1
    turned = ops.concatenate(parts, axis=1) * signs
    return ops.where(ops.reshape(flipped, (-1, 1, 1)) > 0.5, turned, answers)
