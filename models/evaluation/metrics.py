"""The metrics of held-out rows, in NumPy alone; one that these rows do not define has a reason for a number.

Keys have no prefix; the step adds "test_" or "validation_".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.class_metrics import class_metrics
from tidegate.models.evaluation.evaluation import NAMES, Evaluation

Floats = NDArray[np.float64]

# Probabilities are clipped to [SMALLEST, 1 - SMALLEST], as in Keras, so that the logarithm stays finite.
SMALLEST = 1e-7
BINS = 15
Measured = dict[str, float | str]  # a number, or why there is none


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
    top: Sequence[int] = (),
) -> Evaluation:
    """Return the metrics of predictions against the true values.

    Args:
        task: "classification" or "regression".
        y_true: int class indices (rows,), or numbers (rows,) or (rows, values).
        y_pred: probabilities (rows, classes), or numbers (rows, values); see `to_predictions`.
        classes: the target's classes; empty for regression.
        names: the target's columns; with several, each gets its own `rmse_NAME`, `mae_NAME` and `r2_NAME`.
        top: each K of the top_K_accuracy that is asked for.

    Returns:
        accuracy, loss, f1, ece, auc and those of `class_metrics`; or rmse, mae, r2, loss. All are undefined without
        rows, or if a prediction is no finite number; auc if the rows have one class; recall and pr_auc of two classes
        if no row has the second; r2 if the true values are all the same.
    """
    predicted = np.asarray(y_pred, dtype=np.float64)
    problem = problem_of(predicted)
    if problem:
        asked = [f"top_{k}_accuracy" for k in top]
        return Evaluation.without([*NAMES[task], *asked], problem)
    if task == "classification":
        known = list(classes) or list(range(predicted.shape[1]))
        return Evaluation.of(_classification(np.asarray(y_true).astype(np.int64), predicted, known, top))
    truth = np.asarray(y_true, dtype=np.float64).reshape(len(predicted), -1)
    return Evaluation.of(_regression(truth, predicted.reshape(truth.shape), names))


def problem_of(predicted: Floats) -> str:
    """Why no metric of these predictions is defined; "" if they are."""
    if not len(predicted):
        return "there are no rows"
    bad = int((~np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)).sum())
    return f"{bad} of {len(predicted)} predictions are no finite numbers" if bad else ""


def _classification(
    truth: NDArray[np.int64], probabilities: Floats, classes: Sequence[Any], top: Sequence[int]
) -> Measured:
    chosen = probabilities.argmax(axis=1)
    return {
        "accuracy": float(np.mean(chosen == truth)),
        "loss": cross_entropy(truth, probabilities),
        "f1": f1_macro(truth, chosen, len(classes)),
        "ece": calibration_error(truth, probabilities),
        "auc": _mean_area_under_curve(truth, probabilities, classes),
        **class_metrics(truth, probabilities, classes, top),
    }


def _mean_area_under_curve(
    truth: NDArray[np.int64], probabilities: Floats, classes: Sequence[Any]
) -> float | str:
    """The area under the ROC curve; of several classes the mean over those that the rows have, each against the rest.

    The mean is that of Provost and Domingos, "Well-trained PETs: improving probability estimation trees" (2000), with
    equal weights.
    """
    present = np.unique(truth)
    if len(present) < 2:
        return f"all rows have the class {classes[present[0]]!r}"
    if len(classes) == 2:
        return area_under_curve(truth, probabilities[:, 1])
    areas = [area_under_curve((truth == one).astype(np.int64), probabilities[:, one]) for one in present]
    return float(np.mean(areas))


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


def _regression(truth: Floats, predicted: Floats, names: Sequence[str]) -> Measured:
    """R2 is 1 - residual / total sum of squares (Draper and Smith, "Applied Regression Analysis", 1998).

    Of several columns the mean, for R2 over those columns whose values differ.
    """
    error = predicted - truth
    squared = np.mean(error**2, axis=0)
    varied = np.ptp(truth, axis=0) > 0
    columns = {"rmse": np.sqrt(squared), "mae": np.mean(np.abs(error), axis=0)}
    values: Measured = {key: float(column.mean()) for key, column in columns.items()}
    r2 = 1 - squared[varied] / np.var(truth[:, varied], axis=0)
    values["r2"] = float(r2.mean()) if varied.any() else _constant(truth)
    values["loss"] = float(squared.mean())
    if truth.shape[1] > 1:
        each = iter(r2.tolist())
        for place, name in enumerate(names):
            values |= {f"{key}_{name}": float(column[place]) for key, column in columns.items()}
            values[f"r2_{name}"] = next(each) if varied[place] else _constant(truth[:, [place]])
    return values


def _constant(truth: Floats) -> str:
    shown = f"is {truth[0, 0]:g}" if truth.shape[1] == 1 else "is the same"
    return f"the true value {shown} in all {len(truth)} rows"
