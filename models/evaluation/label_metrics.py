"""The metrics of sets of labels, in NumPy alone. A label is answered where its probability reaches its threshold.

- f1_micro, precision and recall count all pairs of row and label together; f1 is the mean of each label's F1 (macro), a
  label neither true nor answered in any row being left out: Sokolova and Lapalme (2009).
- auc is the mean of each label's area under the ROC curve, of those labels that some rows have and others have not;
  pr_auc likewise the mean of average precisions.
- subset_accuracy is the share of rows whose whole set is right, hamming the share of wrong pairs of row and label:
  Tsoumakas and Katakis, "Multi-Label Classification: An Overview" (2007).
- loss is the mean binary cross-entropy over all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import THRESHOLD
from tidegate.models.evaluation.class_metrics import average_precision_of
from tidegate.models.evaluation.metrics import SMALLEST, Measured, area_under_curve

Floats = NDArray[np.float64]
AreaOf = Callable[[NDArray[np.bool_], Floats], float]


def label_metrics(
    truth: NDArray[np.floating], probabilities: Floats, thresholds: Sequence[float] | None = None
) -> Measured:
    """The metrics of probabilities `(n, labels)` against 0 and 1 `(n, labels)`; a reason for one that is undefined.

    Args:
        thresholds: of each label; None: THRESHOLD for all.
    """
    limits = THRESHOLD if thresholds is None else np.asarray(thresholds)
    true, chosen = truth > 0.5, probabilities >= limits
    right = (true & chosen).sum(axis=0).astype(np.float64)
    answered, wanted = chosen.sum(axis=0), true.sum(axis=0)
    seen = answered + wanted > 0
    ranked = [place for place, count in enumerate(wanted) if 0 < count < len(truth)]
    return {
        "f1_micro": float(2 * right.sum() / max(1, (answered + wanted).sum())),
        "loss": binary_cross_entropy(true, probabilities),
        "f1": float(np.mean(2 * right[seen] / (answered + wanted)[seen])) if seen.any() else 0.0,
        "auc": _mean_over(ranked, true, probabilities, _area_under_curve),
        "pr_auc": _mean_over(ranked, true, probabilities, average_precision_of),
        "precision": float(right.sum() / max(1, answered.sum())),
        "recall": float(right.sum() / wanted.sum()) if wanted.any() else "no row has a label",
        "subset_accuracy": float((true == chosen).all(axis=1).mean()),
        "hamming": float((true != chosen).mean()),
    }


def binary_cross_entropy(true: NDArray[np.bool_], probabilities: Floats) -> float:
    """The mean of -ln of the probability given to what is true of each pair of row and label."""
    given = np.where(true, probabilities, 1 - probabilities)
    return float(-np.mean(np.log(np.clip(given, SMALLEST, 1))))


def _area_under_curve(true: NDArray[np.bool_], score: Floats) -> float:
    return area_under_curve(true.astype(np.int64), score)


def _mean_over(places: list[int], true: NDArray[np.bool_], score: Floats, area: AreaOf) -> float | str:
    if not places:
        return "each label is in all rows or in none"
    return float(np.mean([area(true[:, place], score[:, place]) for place in places]))
