"""The metrics of a class at each place of an array, and of arrays of numbers, over all places of all rows together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.class_metrics import class_counts
from tidegate.models.evaluation.metrics import Measured, cross_entropy

Floats = NDArray[np.float64]


def segmentation_metrics(truth: NDArray[Any], probabilities: Floats, classes: int) -> Measured:
    """The metrics of probabilities against true classes.

    Args:
        truth: class indices `(n, *shape)`.
        probabilities: `(n, places * classes)`, place by place.
        classes: their number.

    Returns:
        mean_iou, the mean over classes of intersection over union (Everingham et al., "The PASCAL Visual Object Classes
        Challenge", 2010); accuracy, the share of places that are right; loss, the mean cross-entropy; f1, the mean over
        classes of 2 TP / (2 TP + FP + FN), which is the Dice coefficient. A class neither true nor chosen is left out.
    """
    true, given = truth.reshape(-1).astype(np.int64), probabilities.reshape(-1, classes)
    right, wanted, chosen = class_counts(true, given.argmax(axis=1), classes)
    union = wanted + chosen - right
    seen = union > 0
    return {
        "mean_iou": float(np.mean(right[seen] / union[seen])),
        "accuracy": float(right.sum() / len(true)),
        "loss": cross_entropy(true, given),
        "f1": float(np.mean(2 * right[seen] / (wanted + chosen)[seen])),
    }
