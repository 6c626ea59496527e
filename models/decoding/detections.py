"""Boxes from a model's outputs for its default boxes; a bundle's detections are computed only here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_geometry import box_voting, non_max_suppression
from tidegate.models.data.default_boxes import OFFSETS
from tidegate.models.decoding.settings import Detection
from tidegate.models.preprocessing.target.box_target import BoxTarget, apply_offsets

# Boxes of a class that enter the suppression, the most probable ones, as in Liu et al. 2016.
MOST_COMPARED = 400
NUMBERS = 6  # class index, score, left, top, right, bottom
NO_BOX = -1  # the class index after the last box


def detect(
    answered: NDArray[np.floating], boxes: BoxTarget, settings: Detection, sizes: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The boxes found in images, float32 `(n, max_boxes, 6)`: class index, score, left, top, right, bottom.

    For each class the boxes with a sufficient score go through non-maximum suppression. Of the remaining boxes of all
    classes the best are kept, the best first; boxes with equal scores keep the order of the default boxes. After the
    last box the class index is -1 and all else 0.

    Args:
        answered: logits of no box and of each class, and four offsets, `(n, d, 1 + classes + 4)`.
        boxes: the default boxes and the classes.
        settings: which boxes are kept.
        sizes: height and width of each original image, `(n, 2)`; boxes are in its pixels, and cut at its edges.

    Raises:
        ValueError: the outputs have another shape, or are not finite.
    """
    expected = (len(boxes.defaults), 1 + len(boxes.labels) + OFFSETS)
    if answered.shape[1:] != expected or not np.isfinite(answered).all():
        raise ValueError(
            f"the outputs have shape {answered.shape[1:]}; expected finite numbers of shape {expected}"
        )
    found = np.zeros((len(answered), settings.max_boxes, NUMBERS), np.float32)
    found[:, :, 0] = NO_BOX
    for row, one in enumerate(answered):
        kept = _detect_one(one, boxes, settings, sizes[row])
        found[row, : len(kept)] = kept
    return found


def _detect_one(
    answered: NDArray[np.floating], boxes: BoxTarget, settings: Detection, size: NDArray[np.integer]
) -> NDArray[np.float64]:
    scores = softmax(answered[:, :-OFFSETS])[:, 1:]
    height, width = (int(side) for side in size)
    scale = np.array([width / boxes.size[1], height / boxes.size[0]] * 2)
    parts = [np.zeros((0, NUMBERS))]
    for place in range(scores.shape[1]):
        enough = np.flatnonzero(scores[:, place] >= settings.score)
        best = enough[np.argsort(-scores[enough, place], kind="stable")[:MOST_COMPARED]]
        moved = apply_offsets(answered[best, -OFFSETS:], boxes.defaults[best]) * scale
        moved = np.clip(moved, 0, [width, height, width, height])
        kept = non_max_suppression(moved, scores[best, place], settings.iou)
        chosen = scores[best[kept], place]
        shown = moved[kept]
        if settings.vote is not None:
            shown = box_voting(moved, scores[best, place], kept, settings.vote)
        parts.append(np.column_stack([np.full(len(kept), place), chosen, shown]))
    whole = np.concatenate(parts)
    # A box outside of the image was cut to no area.
    whole = whole[(whole[:, 4] > whole[:, 2]) & (whole[:, 5] > whole[:, 3])]
    return np.asarray(whole[np.argsort(-whole[:, 1], kind="stable")[: settings.max_boxes]], np.float64)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
