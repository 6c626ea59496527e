"""The metrics of held-out rows, in NumPy alone.

Keys have no prefix; the step adds "test_" or "validation_".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Probabilities are clipped to [SMALLEST, 1 - SMALLEST], as in Keras, so that the logarithm stays finite.
SMALLEST = 1e-7
BINS = 15


def to_predictions(raw: NDArray[Any], activation: str) -> NDArray[np.float32]:
    """Return one prediction per row from a model's raw outputs.

    Args:
        raw: float (rows, units).
        activation: of the outputs; "sigmoid" is the probability of the second of two classes.

    Returns:
        float32 probabilities (rows, classes), or numbers (rows, values).
    """
    raw = np.asarray(raw, dtype=np.float32).reshape(len(raw), -1)
    return np.concatenate([1 - raw, raw], axis=1) if activation == "sigmoid" else raw


def evaluate(
    task: str,
    y_true: NDArray[Any],
    y_pred: NDArray[Any],
    classes: Sequence[Any] = (),
    names: Sequence[str] = (),
) -> dict[str, float]:
    """Return the metrics of predictions against the true values.

    Args:
        task: "classification" or "regression".
        y_true: int class indices (rows,), or numbers (rows,) or (rows, values).
        y_pred: probabilities (rows, classes), or numbers (rows, values); see `to_predictions`.
        classes: the target's classes; empty for regression.
        names: the target's columns; with several, each gets its own `rmse_NAME`, `mae_NAME` and `r2_NAME`.

    Returns:
        accuracy, loss, f1, ece and, for two classes, auc; or rmse, mae, r2, loss.
    """
    predicted = np.asarray(y_pred, dtype=np.float64)
    if task == "classification":
        return _classification(
            np.asarray(y_true).astype(np.int64), predicted, len(classes) or predicted.shape[1]
        )
    truth = np.asarray(y_true, dtype=np.float64).reshape(len(predicted), -1)
    return _regression(truth, predicted.reshape(truth.shape), names)


def _classification(truth: NDArray[np.int64], probabilities: Floats, classes: int) -> dict[str, float]:
    chosen = probabilities.argmax(axis=1)
    values = {
        "accuracy": float(np.mean(chosen == truth)),
        "loss": cross_entropy(truth, probabilities),
        "f1": f1_macro(truth, chosen, classes),
        "ece": calibration_error(truth, probabilities),
    }
    if classes == 2:
        values["auc"] = area_under_curve(truth, probabilities[:, 1])
    return values


def cross_entropy(truth: NDArray[np.int64], probabilities: Floats) -> float:
    """Return the mean of -ln p(true class): I. J. Good, "Rational Decisions" (1952)."""
    true_class = probabilities[np.arange(len(truth)), truth]
    return float(-np.mean(np.log(np.clip(true_class, SMALLEST, 1 - SMALLEST))))


def f1_macro(truth: NDArray[np.int64], chosen: NDArray[np.int64], classes: int) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN).

    Macro-averaged F1 as in Sokolova and Lapalme, "A systematic analysis of performance measures for
    classification tasks" (2009); a class neither true nor chosen in any row is left out.
    """
    right = np.bincount(truth[truth == chosen], minlength=classes)
    both = np.bincount(truth, minlength=classes) + np.bincount(chosen, minlength=classes)
    seen = both > 0
    return float(np.mean(2 * right[seen] / both[seen])) if seen.any() else 0.0


def area_under_curve(truth: NDArray[np.int64], score: Floats) -> float:
    """Return the area under the ROC curve: the probability that a positive row scores above a negative one.

    Computed from ranks, ties have their mean rank: Hanley and McNeil, "The meaning and use of the area
    under a receiver operating characteristic (ROC) curve" (1982). NaN if a class has no row.
    """
    positives = int(np.sum(truth == 1))
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks = (last - (count - 1) / 2)[place]
    above = ranks[truth == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def calibration_error(truth: NDArray[np.int64], probabilities: Floats, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean over rows of |accuracy - confidence| of the row's bin.

    With bins of equal width over the highest probability: Guo et al., "On Calibration of Modern Neural
    Networks" (2017), equation 3.
    """
    counts, accuracy, confidence = reliability(truth, probabilities, bins)
    return float(np.sum(counts * np.abs(accuracy - confidence)) / max(1, counts.sum()))


def reliability(
    truth: NDArray[np.int64], probabilities: Floats, bins: int = BINS
) -> tuple[Floats, Floats, Floats]:
    """Return rows, accuracy and mean confidence of each bin, float64 (bins,); 0 in a bin without rows."""
    highest = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    place = np.clip(np.ceil(highest * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins).astype(np.float64)
    rows = np.maximum(counts, 1)
    return (
        counts,
        np.bincount(place, weights=right, minlength=bins) / rows,
        np.bincount(place, weights=highest, minlength=bins) / rows,
    )


def _regression(truth: Floats, predicted: Floats, names: Sequence[str]) -> dict[str, float]:
    """R2 is 1 - residual / total sum of squares (Draper and Smith, "Applied Regression Analysis", 1998)."""
    error = predicted - truth
    squared = np.mean(error**2, axis=0)
    columns = {
        "rmse": np.sqrt(squared),
        "mae": np.mean(np.abs(error), axis=0),
        "r2": 1 - squared / np.maximum(np.var(truth, axis=0), np.finfo(np.float64).tiny),
    }
    values = {key: float(column.mean()) for key, column in columns.items()}
    values["loss"] = float(squared.mean())
    if truth.shape[1] > 1:
        for key, column in columns.items():
            values |= {f"{key}_{name}": float(one) for name, one in zip(names, column, strict=False)}
    return values
