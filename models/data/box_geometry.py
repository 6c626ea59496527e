"""Box geometry: intersection over union, non-maximum suppression and box voting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def iou(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Intersection over union `(n, m)` of boxes `(n, 4)` and `(m, 4)`, each left, top, right, bottom; 0 without area.

    The Jaccard index as in Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
    """
    one, two = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    corner, opposite = np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:])
    shared = np.clip(opposite - corner, 0, None).prod(axis=2)
    areas = [np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=2) for boxes in (one, two)]
    union = areas[0] + areas[1] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def non_max_suppression(boxes: Floats, scores: Floats, limit: float = 0.5) -> NDArray[np.int64]:
    """Non-maximum suppression: positions of the boxes kept, the highest score first.

    Greedy, as in Dalal, Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005: the best box is
    kept, all boxes that overlap it by more than `limit` are removed, and so on. Of equal scores the first wins.

    Args:
        boxes: `(n, 4)`, each left, top, right, bottom.
        scores: `(n,)`.
        limit: the overlap above which the box with the lower score is removed.
    """
    order = np.argsort(-scores, kind="stable")
    near = iou(boxes[order], boxes[order]) > limit
    kept = np.ones(len(order), np.bool_)
    for place in range(len(order)):
        if kept[place]:
            kept[place + 1 :] &= ~near[place, place + 1 :]
    return np.asarray(order[kept], np.int64)


def box_voting(boxes: Floats, scores: Floats, kept: NDArray[np.integer], limit: float) -> NDArray[np.float64]:
    """For each kept box the score-weighted mean of all boxes that overlap it by at least `limit`, `(k, 4)`.

    Gidaris, Komodakis, "Object detection via a multi-region and semantic segmentation-aware CNN model", ICCV 2015,
    section 5.

    Args:
        boxes: `(n, 4)`, each left, top, right, bottom.
        scores: `(n,)`, above 0.
        kept: positions of the boxes kept `(k,)`.
        limit: the overlap from which a box counts.
    """
    weights = np.where(iou(boxes[kept], boxes) >= limit, scores.astype(np.float64), 0)
    weights[np.arange(len(kept)), kept] = scores[kept]  # also where it has no area
    return np.asarray(weights @ boxes.astype(np.float64) / weights.sum(axis=1, keepdims=True))
