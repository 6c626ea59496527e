"""The metrics of a class at each place of an array, and of arrays of numbers, over all places of all rows together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.class_metrics import class_counts
from tidegate.models.evaluation.evaluation import iou_names
from tidegate.models.evaluation.metrics import Measured, cross_entropy
from tidegate.models.preprocessing.target.tags import entities

Floats = NDArray[np.float64]


def segmentation_metrics(truth: NDArray[Any], probabilities: Floats, classes: Sequence[Any]) -> Measured:
    """The metrics of probabilities against true classes.

    Args:
        truth: class indices `(n, *shape)`, negative where there is no class; such places are left out.
        probabilities: `(n, places * classes)`, place by place.
        classes: their names.

    Returns:
        mean_iou, the mean over classes of intersection over union (Everingham et al., "The PASCAL Visual Object Classes
        Challenge", 2010); accuracy, the share of places that are right; loss, the mean cross-entropy; f1, the mean over
        classes of 2 TP / (2 TP + FP + FN), which is the Dice coefficient. A class neither true nor chosen is left out.
        Beside these iou_CLASS, the intersection over union of each class, see `iou_names`.
    """
    true, given = truth.reshape(-1).astype(np.int64), probabilities.reshape(-1, len(classes))
    if (true < 0).any():
        true, given = true[true >= 0], given[true >= 0]
    if not len(true):
        return dict.fromkeys(("mean_iou", "accuracy", "loss", "f1"), "no pixel of the rows has a class")
    right, wanted, chosen = class_counts(true, given.argmax(axis=1), len(classes))
    union = wanted + chosen - right
    seen = union > 0
    by_class = {
        name: float(right[place] / union[place])
        if seen[place]
        else f"no pixel is, or was taken for, the class {classes[place]!r}"
        for place, name in enumerate(iou_names(classes))
    }
    return {
        "mean_iou": float(np.mean(right[seen] / union[seen])),
        "accuracy": float(right.sum() / len(true)),
        "loss": cross_entropy(true, given),
        "f1": float(np.mean(2 * right[seen] / (wanted + chosen)[seen])),
        **by_class,
    }


def tagging_metrics(truth: NDArray[Any], probabilities: Floats, classes: Sequence[str]) -> Measured:
    """The metrics of a label for each token.

    Args:
        truth: class indices `(n, length)`, negative where there is no token.
        probabilities: `(n, length * classes)`, place by place.
        classes: the first one stands for no token.

    Returns:
        entity_f1, 2 TP / (2 TP + FP + FN) of entities that are right from the first to the last token, see
        `target.tags.entities`; accuracy, the share of tokens that are right; loss, the mean cross-entropy; f1, the mean
        over classes that are true or chosen.
    """
    given = probabilities.reshape(len(truth), -1, len(classes))
    there, chosen = truth >= 0, given.argmax(axis=2)
    true = truth[there].astype(np.int64)
    if not len(true):
        return dict.fromkeys(("entity_f1", "accuracy", "loss", "f1"), "the rows have no token")
    right, wanted, taken = class_counts(true, chosen[there], len(classes))
    seen = wanted + taken > 0
    return {
        "entity_f1": _entity_f1(truth, chosen, classes),
        "accuracy": float(right.sum() / len(true)),
        "loss": cross_entropy(true, given[there]),
        "f1": float(np.mean(2 * right[seen] / (wanted + taken)[seen])),
    }


def _entity_f1(truth: NDArray[Any], chosen: NDArray[Any], classes: Sequence[str]) -> float | str:
    right = wanted = taken = 0
    for true, mine in zip(truth, chosen, strict=True):
        kept = true >= 0
        ours, theirs = (entities([classes[place] for place in row[kept]]) for row in (mine, true))
        right, wanted, taken = right + len(ours & theirs), wanted + len(theirs), taken + len(ours)
    return 2 * right / (wanted + taken) if wanted + taken else "no row has an entity, and none was answered"
