"""The metrics of any target, and how far two models differ in one of them.

A class or a number a row is measured as `evaluation.metrics` says, a set of labels as `evaluation.label_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import top_k
from tidegate.models.evaluation.evaluation import NAMES, Evaluation
from tidegate.models.evaluation.label_metrics import label_metrics
from tidegate.models.evaluation.metrics import evaluate, problem_of
from tidegate.models.evaluation.paired_difference import GROUPS, UNKNOWN, Interval, interval, jackknife
from tidegate.models.preprocessing.schema import Target

Floats = NDArray[np.float64]


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
    if target.task in ("classification", "regression"):
        return evaluate(target.task, truth, answers, target.classes, target.names, top)
    predicted = np.asarray(answers, np.float64)
    problem = problem_of(predicted)
    if problem:
        return Evaluation.without(NAMES[target.task], problem)
    return Evaluation.of(MEASURES[target.task](truth, predicted))


MEASURES: dict[str, Callable[[NDArray[Any], Floats], dict[str, float | str]]] = {"multilabel": label_metrics}


def interval_of(
    target: Target,
    metric: str,
    truth: NDArray[Any],
    answers: tuple[NDArray[Any], NDArray[Any]],
    confidence: float,
) -> Interval:
    """The interval of the first model's metric minus the second's, see `paired_difference.interval`.

    Of what is no class and no number a row it comes from leaving out each of GROUPS groups of rows.
    """
    if target.task in ("classification", "regression"):
        return interval(metric, target.task, truth, answers, confidence, target.names)
    rows, count = np.arange(len(truth)), min(GROUPS, len(truth))

    def difference(kept: NDArray[np.bool_]) -> float:
        ours, theirs = (
            evaluate_target(target, truth[kept], one[kept], top_k([metric])).values for one in answers
        )
        return ours.get(metric, np.nan) - theirs.get(metric, np.nan)

    without = [difference(rows % count != group) for group in range(count)]
    if count < 2 or not np.isfinite(without).all():
        return UNKNOWN
    return jackknife(without, difference(rows >= 0), confidence)
