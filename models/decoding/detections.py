"""Boxes from what a model answers for its default boxes: the one place where a bundle's detection is carried out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_geometry import suppress, vote
from tidegate.models.data.default_boxes import OFFSETS
from tidegate.models.decoding.settings import Detection
from tidegate.models.preprocessing.box_target import Boxes, moved_by

MOST_COMPARED = (
    400  # boxes of a class that are held against each other, the most probable ones, as in Liu et al. 2016
)
NUMBERS = 6  # the class's position, the score, and left, top, right, bottom
NO_BOX = -1  # the position that stands behind the last box


def detect(
    answered: NDArray[np.floating], boxes: Boxes, settings: Detection, sizes: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The boxes found in images, `(n, max_boxes, 6)`: class position, score, left, top, right, bottom.

    Of each class the boxes that score enough go through non-maximum suppression, and of all that are left the best are
    kept, the best first; equal ones keep the order of the default boxes. Behind them the position is -1 and all else 0.

    Args:
        answered: logits of no box and of each class, and four offsets, `(n, d, 1 + classes + 4)`.
        boxes: the default boxes and the classes.
        settings: which boxes are kept.
        sizes: height and width of each image as it was sent, `(n, 2)`; boxes are in its pixels, and cut at its edges.

    Raises:
        ValueError: the answers have another shape, or are not finite.
    """
    expected = (len(boxes.defaults), 1 + len(boxes.labels) + OFFSETS)
    if answered.shape[1:] != expected or not np.isfinite(answered).all():
        raise ValueError(f"expected finite numbers of shape {expected}, received {answered.shape[1:]}")
    found = np.zeros((len(answered), settings.max_boxes, NUMBERS), np.float32)
    found[:, :, 0] = NO_BOX
    for row, one in enumerate(answered):
        kept = _one(one, boxes, settings, sizes[row])
        found[row, : len(kept)] = kept
    return found


def _one(
    answered: NDArray[np.floating], boxes: Boxes, settings: Detection, size: NDArray[np.integer]
) -> NDArray[np.float64]:
    scores = softmax(answered[:, :-OFFSETS])[:, 1:]
    height, width = (int(side) for side in size)
    scale = np.array([width / boxes.size[1], height / boxes.size[0]] * 2)
    parts = [np.zeros((0, NUMBERS))]
    for place in range(scores.shape[1]):
        enough = np.flatnonzero(scores[:, place] >= settings.score)
        best = enough[np.argsort(-scores[enough, place], kind="stable")[:MOST_COMPARED]]
        moved = moved_by(answered[best, -OFFSETS:], boxes.defaults[best]) * scale
        moved = np.clip(moved, 0, [width, height, width, height])
        kept = suppress(moved, scores[best, place], settings.iou)
        chosen = scores[best[kept], place]
        shown = moved[kept]
        if settings.vote is not None:
            shown = vote(moved, scores[best, place], kept, settings.vote)
        parts.append(np.column_stack([np.full(len(kept), place), chosen, shown]))
    whole = np.concatenate(parts)
    whole = whole[
        (whole[:, 4] > whole[:, 2]) & (whole[:, 5] > whole[:, 3])
    ]  # outside of the image nothing is left
    return np.asarray(whole[np.argsort(-whole[:, 1], kind="stable")[: settings.max_boxes]], np.float64)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
