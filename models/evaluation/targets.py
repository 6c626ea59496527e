"""The metrics of any target, and how far two models differ in one of them.

A class or a number a row is measured as `evaluation.metrics` says, a set of labels as `evaluation.label_metrics`, a
class at each place as `evaluation.dense_metrics`, a forecast as `evaluation.forecast_metrics`, arrays of numbers as one
column of all their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import top_k
from tidegate.models.evaluation.anomaly_metrics import anomaly_metrics
from tidegate.models.evaluation.dense_metrics import segmentation_metrics, tagging_metrics
from tidegate.models.evaluation.evaluation import NAMES, Evaluation
from tidegate.models.evaluation.forecast_metrics import forecast_metrics
from tidegate.models.evaluation.label_metrics import label_metrics
from tidegate.models.evaluation.metrics import evaluate, problem_of
from tidegate.models.evaluation.paired_difference import GROUPS, UNKNOWN, Interval, interval, jackknife
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import parts_of, truths_of


def evaluate_target(
    target: Target, truth: NDArray[Any], answers: NDArray[Any], top: Sequence[int] = ()
) -> Evaluation:
    """The metrics of answers against the true target.

    Args:
        target: what is predicted.
        truth: as `preprocessing.target.encode_target` encodes it.
        answers: `(n, units)`, see `preprocessing.target.answers.as_answers`.
        top: each K of the top_K_accuracy that is asked for.

    Returns:
        The metrics of `evaluation.NAMES`; those that the rows do not define have a reason.
    """
    if target.outputs is not None:
        return _of_outputs(target, truth, answers, top)
    if target.task in ("classification", "regression") and target.shape is None:
        return evaluate(target.task, truth, answers, target.classes, target.names, top)
    predicted = np.asarray(answers, np.float64)
    problem = problem_of(predicted)
    if problem:
        return Evaluation.without(NAMES[target.task], problem)
    if target.task == "anomaly":
        return Evaluation.of(anomaly_metrics(target, truth, predicted))
    if target.task == "forecasting":
        return Evaluation.of(forecast_metrics(target, truth, predicted))
    if target.task in ("regression", "reconstruction"):
        return evaluate("regression", truth.reshape(-1, 1), predicted.reshape(-1, 1))
    if target.task == "tagging":
        return Evaluation.of(tagging_metrics(truth, predicted, [str(one) for one in target.classes]))
    if target.task == "segmentation":
        return Evaluation.of(segmentation_metrics(truth, predicted, target.classes))
    return Evaluation.of(label_metrics(truth, predicted, target.thresholds))


def _of_outputs(target: Target, truth: NDArray[Any], answers: NDArray[Any], top: Sequence[int]) -> Evaluation:
    """The metrics of each output, after its name, and `loss`, the sum of theirs without weights."""
    found, loss = Evaluation(), 0.0
    for (output, part), (_, true) in zip(parts_of(target), truths_of(target), strict=True):
        own = truth[:, true]
        shaped = own[:, 0] if output.task == "classification" else own
        one = evaluate_target(output, shaped, np.asarray(answers)[:, part], top)
        loss += one.values.get("loss", np.nan)
        found |= one.prefixed(f"{output.name}_")
    return found | Evaluation.of({"loss": loss})


def interval_of(
    target: Target,
    metric: str,
    truth: NDArray[Any],
    answers: tuple[NDArray[Any], NDArray[Any]],
    confidence: float,
    theirs: Target | None = None,
) -> Interval:
    """The interval of the first model's metric minus the second's, see `paired_difference.interval`.

    Of what is no class and no number a row it comes from leaving out each of GROUPS groups of rows. `theirs` is the
    second model's target, where its thresholds are other ones.
    """
    if target.task in ("classification", "regression") and target.shape is None:
        return interval(metric, target.task, truth, answers, confidence, target.names)

    def both(kept: NDArray[np.bool_]) -> tuple[float, float]:
        first, second = (
            evaluate_target(whose, truth[kept], one[kept], top_k([metric])).values
            for whose, one in zip((target, theirs or target), answers, strict=True)
        )
        return first.get(metric, np.nan), second.get(metric, np.nan)

    return interval_by_groups(len(truth), both, confidence)


def interval_by_groups(
    count: int, both: Callable[[NDArray[np.bool_]], tuple[float, float]], confidence: float
) -> Interval:
    """The interval of a difference of any two numbers of the same rows: each of GROUPS groups is left out once.

    Args:
        count: the number of rows.
        both: from the rows that are kept, bool `(count,)`, to the two numbers.
        confidence: see `paired_difference.interval`.

    Returns:
        Lower and upper end; NaN where one of the numbers is not defined.
    """
    rows, groups = np.arange(count), min(GROUPS, count)
    without = [np.subtract(*both(rows % groups != group)) for group in range(groups)]
    if groups < 2 or not np.isfinite(without).all():
        return UNKNOWN
    return jackknife(without, float(np.subtract(*both(rows >= 0))), confidence)
