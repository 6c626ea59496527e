"""Whether a model is better than a guess that looks at no input, by more than chance.

A classifier is compared with always answering the class that most training rows have, a regressor with the mean: row by
row, by the interval of the difference that candidate and champion are compared by, see `paired_difference`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.paired_difference import interval
from tidegate.models.evaluation.targets import evaluate_target, interval_of
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import parts_of, truths_of

CHANCE = 0.05  # how often a model that knows nothing may pass
CONFIDENCE = 1 - 2 * CHANCE  # of an interval of which only one end counts


def guessed(
    target: Target, truth: NDArray[Any], answers: NDArray[Any], summary: Mapping[str, Any]
) -> dict[str, str]:
    """The outputs that are no better than guessing, and why; none of those that have no natural guess, as texts.

    Args:
        target: what is predicted.
        truth, answers: of the test rows, as for `targets.evaluate_target`.
        summary: of the data, see `preprocessing.summary`.
    """
    if target.outputs is None:
        why = _guessed(target, truth, answers, summary)
        return {target.name: why} if why else {}
    found: dict[str, str] = {}
    for (output, part), (_, true) in zip(parts_of(target), truths_of(target), strict=True):
        own = truth[:, true]
        shaped = own[:, 0].astype(np.int64) if output.task == "classification" else own
        why = _guessed(output, shaped, answers[:, part], summary["outputs"][output.name])
        found |= {output.name: why} if why else {}
    return found


def _guessed(target: Target, truth: NDArray[Any], answers: NDArray[Any], summary: Mapping[str, Any]) -> str:
    if target.task == "multilabel":
        return no_better_labels(target, truth, answers)
    if target.shape is not None or target.task not in ("classification", "regression"):
        return ""
    if target.task == "regression":
        return no_better_number(truth, answers, [summary["target"][name]["mean"] for name in target.names])
    counts = summary["classes"]
    return no_better_class(truth, answers, {name: rows["train"] for name, rows in counts.items()})


def no_better_class(
    truth: NDArray[np.int64], probabilities: NDArray[Any], training_rows: Mapping[str, int]
) -> str:
    """Why a classifier is no better than guessing, in words; "" if it is.

    Args:
        truth: class indices of the test rows `(n,)`.
        probabilities: the model's, `(n, classes)`.
        training_rows: how many training rows each class has, in the order of the classes.
    """
    names, rows = list(training_rows), len(truth)
    common = int(np.argmax([training_rows[name] for name in names]))
    guess = np.tile((np.arange(len(names)) == common).astype(np.float64), (rows, 1))
    least, _ = interval("accuracy", "classification", truth, (probabilities, guess), CONFIDENCE)
    if least > 0:
        return ""
    right = int((np.asarray(probabilities).argmax(axis=1) == truth).sum())
    return (
        f"it is right in {right} of {rows} test rows, and always answering {names[common]!r} in "
        f"{(truth == common).sum()}; expected more right ones than chance gives in {CHANCE:.0%} of the cases"
    )


def no_better_labels(target: Target, truth: NDArray[Any], probabilities: NDArray[Any]) -> str:
    """Why a model of sets of labels is no better than guessing, in words; "" if it is.

    Whatever is answered without looking ranks the rows by chance: the mean area under the ROC curve is then 0.5.

    Args:
        target: of the labels.
        truth: 0 and 1 of the test rows `(n, labels)`.
        probabilities: the model's.
    """
    guess = np.full(np.shape(probabilities), 0.5)
    least, _ = interval_of(target, "auc", truth, (probabilities, guess), CONFIDENCE)
    if least > 0:
        return ""
    found = evaluate_target(target, truth, probabilities)
    reached = f"{found.values['auc']:.3f}" if "auc" in found.values else found.undefined["auc"]
    return (
        f"its mean area under the ROC curve on {len(truth)} test rows is {reached}, and 0.5 is what guessing gives; "
        f"expected more than chance gives in {CHANCE:.0%} of the cases"
    )


def no_better_number(truth: NDArray[Any], predicted: NDArray[Any], means: Sequence[float]) -> str:
    """Why a regressor is no better than the mean, in words; "" if it is.

    Args:
        truth: of the test rows `(n,)` or `(n, values)`; columns count equally, by their share of the guess's error.
        predicted: the same shape.
        means: the guess for each column.
    """
    true = np.asarray(truth, np.float64).reshape(len(truth), -1)
    spread = np.sqrt(((np.asarray(means) - true) ** 2).mean(axis=0))
    wrong = spread > 0
    if not wrong.any():
        return f"the mean of the target is the true value of all {len(true)} test rows"
    model, scaled = (
        one.reshape(true.shape)[:, wrong] / spread[wrong] for one in (np.asarray(predicted), true)
    )
    guess = np.tile(np.asarray(means)[wrong] / spread[wrong], (len(true), 1))
    _, most = interval("loss", "regression", scaled, (model, guess), CONFIDENCE)
    if most < 0:
        return ""
    gain = 1 - float(((model - scaled) ** 2).mean())
    return (
        f"on {len(true)} test rows its squared error is {abs(gain):.1%} {'less' if gain >= 0 else 'more'} than that of "
        "always answering the mean; "
        f"expected more than chance gives in {CHANCE:.0%} of the cases"
    )
