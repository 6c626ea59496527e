"""Images flipped by chance in training, and what a model of boxes answers for them flipped back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegate.models.data.default_boxes import OFFSETS, Grid

AXES = {"vertical": 1, "horizontal": 2}  # of (rows, down, across, ...)
MIDDLES = {"vertical": 1, "horizontal": 0}  # among the offsets: the one whose sign changes


def flip(images: Any, axis: str, layer: Any) -> tuple[Any, Any]:
    """Images (rows, height, width, channels) through Keras' layer of random flips, and which were flipped (rows,).

    The layer tells nobody; so the images are given one channel more, which is 1 at one edge alone.
    """
    from keras import ops

    height, width = images.shape[1:3]
    edge = np.zeros((1, height, width, 1), np.float32)
    edge[:, (-1 if axis == "vertical" else slice(None)), (-1 if axis == "horizontal" else slice(None))] = 1
    marked = ops.concatenate([images, ops.zeros_like(images[..., :1]) + edge], axis=-1)
    turned = layer(marked)
    return turned[..., :-1], turned[:, 0, 0, -1]


def flip_back(answers: Any, flipped: Any, axis: str, grids: Sequence[Grid], size: tuple[int, int]) -> Any:
    """Answers (rows, default boxes, units) as they are for the images before they were flipped.

    Args:
        answers: of the model.
        flipped: 1 where an image was flipped (rows,).
        axis: as of the images.
        grids: of the default boxes.
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
    signs[units - OFFSETS + MIDDLES[axis]] = -1
    turned = ops.concatenate(parts, axis=1) * signs
    return ops.where(ops.reshape(flipped, (-1, 1, 1)) > 0.5, turned, answers)
