"""Metrics of a classification with any number of classes, in NumPy alone.

With two classes precision, recall and pr_auc are those of the second one, as in Keras and scikit-learn: of `True`, 1 or
"yes". With more, each is the mean over the classes, one against the rest. f1 is always that mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Counts = tuple[Floats, Floats, Floats]


def class_metrics(
    truth: Indices, probabilities: Floats, classes: Sequence[Any], top: Sequence[int] = ()
) -> dict[str, float | str]:
    """Return precision, recall, balanced_accuracy, pr_auc and each top_K_accuracy: a number, or why there is none.

    Args:
        truth: class indices (rows,), at least one.
        probabilities: (rows, classes).
        classes: the classes.
        top: for each K the share of rows whose class is among the K most probable ones.
    """
    counts = class_counts(truth, probabilities.argmax(axis=1), len(classes))
    right, true, _ = counts
    without = f"no row has the class {classes[1]!r}" if len(classes) == 2 and not true[1] else ""
    return {
        "precision": precision(counts),
        "recall": without or recall(counts),
        "balanced_accuracy": float(np.mean(right[true > 0] / true[true > 0])),
        "pr_auc": without or average_precision(truth, probabilities),
        **{f"top_{k}_accuracy": top_accuracy(truth, probabilities, k) for k in top},
    }


def class_counts(truth: Indices, chosen: Indices, classes: int) -> Counts:
    """Return for each class the rows that are right, that are of it, and that it is chosen for, each (classes,)."""
    counts = (np.bincount(one, minlength=classes) for one in (truth[truth == chosen], truth, chosen))
    right, true, predicted = (count.astype(np.float64) for count in counts)
    return right, true, predicted


def precision(counts: Counts) -> float:
    """Return the share of the rows a class is chosen for that are of it; 0 for a class that is never chosen.

    Like recall of the second of two classes, else the mean over the classes that are true or chosen somewhere: Sokolova
    and Lapalme, "A systematic analysis of performance measures for classification tasks" (2009).
    """
    right, true, chosen = counts
    return _of_classes(right / np.maximum(chosen, 1), (true + chosen) > 0)


def recall(counts: Counts) -> float:
    """Return the share of the rows of a class that it is chosen for; see `precision`."""
    right, true, chosen = counts
    return _of_classes(right / np.maximum(true, 1), (true + chosen) > 0)


def _of_classes(shares: Floats, seen: NDArray[np.bool_]) -> float:
    return float(shares[1] if len(shares) == 2 else shares[seen].mean())


def average_precision(truth: Indices, probabilities: Floats) -> float:
    r"""Return \( \sum_n (R_n - R_{n-1}) P_n \) over falling thresholds, the area under precision over recall.

    Without interpolation: Boyd, Eng and Page, "Area under the Precision-Recall Curve" (2013). Of the second of two
    classes, else the mean over the classes that have rows.
    """
    compared = [1] if probabilities.shape[1] == 2 else np.unique(truth)
    return float(np.mean([average_precision_of(truth == one, probabilities[:, one]) for one in compared]))


def average_precision_of(positive: NDArray[np.bool_], score: Floats) -> float:
    """Return the area under precision over recall of one class: which rows are of it, and their scores, `(n,)` each."""
    values, place = np.unique(-score, return_inverse=True)  # the highest score first
    rows = np.cumsum(np.bincount(place, minlength=len(values)))
    right = np.cumsum(np.bincount(place, weights=positive.astype(np.float64), minlength=len(values)))
    return float(np.sum(np.diff(right, prepend=0.0) * right / rows) / right[-1])


def top_accuracy(truth: Indices, probabilities: Floats, k: int) -> float:
    """Return the share of rows in which fewer than k classes are more probable than the true one."""
    own = probabilities[np.arange(len(truth)), truth][:, None]
    return float(np.mean((probabilities > own).sum(axis=1) < k))
