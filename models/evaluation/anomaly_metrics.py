"""The metrics of scores of anomalies, in NumPy alone.

- loss is the mean score of rows that are no known anomalies, and alarms the share of them above the threshold.
- auc and pr_auc are of the score, precision, recall and f1 of the rows above the threshold, against known anomalies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.class_metrics import average_precision_of
from tidegate.models.evaluation.evaluation import OF_KNOWN
from tidegate.models.evaluation.metrics import Measured, area_under_curve
from tidegate.models.preprocessing.schema import Target


def anomaly_metrics(target: Target, truth: NDArray[Any], scores: NDArray[np.float64]) -> Measured:
    """The metrics of scores `(n, 1)` against known anomalies, `(n,)` of 0, 1, or NaN where none are known."""
    score, known = scores[:, 0], np.nan_to_num(np.asarray(truth, np.float64)).ravel() > 0
    usual = score[~known]
    limit = target.thresholds[0] if target.thresholds else np.inf
    measured: Measured = {"loss": "all rows are known anomalies", "alarms": "all rows are known anomalies"}
    if len(usual):
        measured = {"loss": float(usual.mean()), "alarms": float((usual > limit).mean())}
    if target.label is None or known.all() or not known.any():
        why = (
            "data.anomaly.label is not stated"
            if target.label is None
            else "all rows or none are known anomalies"
        )
        return measured | dict.fromkeys(OF_KNOWN, why)
    found = score > limit
    right = int((found & known).sum())
    return measured | {
        "auc": area_under_curve(known.astype(np.int64), score),
        "pr_auc": average_precision_of(known, score),
        "precision": float(right / max(1, found.sum())),
        "recall": float(right / known.sum()),
        "f1": float(2 * right / (found.sum() + known.sum())),
    }
