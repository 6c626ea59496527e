"""Whether a model is better than a guess that looks at no input, by more than chance.

A classifier is compared with always answering the class that most training rows have, row by row: of the rows that only
one of the two has right, the model must have more than a fair coin gives. That is the exact form of McNemar, "Note on
the sampling error of the difference between correlated proportions or percentages" (1947). A regressor is compared with
the mean, by its squared errors: the whole bootstrap interval of the difference must be above zero (Efron, "Bootstrap
Methods: Another Look at the Jackknife", 1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANCE = 0.05  # how often a model that knows nothing may pass
DRAWS = 2000
DRAWN_TOGETHER = 2_000_000  # rows of all draws that are in memory at once

Floats = NDArray[np.float64]


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
    model, guess = np.asarray(probabilities).argmax(axis=1) == truth, truth == common
    gained, lost = int((model & ~guess).sum()), int((guess & ~model).sum())
    chance = _coin(gained, gained + lost)
    if chance <= CHANCE:
        return ""
    return (
        f"it is right in {model.sum()} of {rows} test rows, and always answering {names[common]!r} in {guess.sum()}; "
        f"expected more than chance gives (p {chance:.2g}, at most {CHANCE:g})"
    )


def no_better_number(truth: NDArray[Any], predicted: NDArray[Any], means: Sequence[float]) -> str:
    """Why a regressor is no better than the mean, in words; "" if it is.

    Args:
        truth: of the test rows `(n,)` or `(n, values)`; columns count equally, by their share of the guess's error.
        predicted: the same shape.
        means: the guess for each column.
    """
    true = np.asarray(truth, np.float64).reshape(len(truth), -1)
    guess, model = (
        (one - true) ** 2 for one in (np.asarray(means), np.asarray(predicted).reshape(true.shape))
    )
    wrong = guess.mean(axis=0) > 0
    if not wrong.any():
        return f"the mean of the target is the true value of all {len(true)} test rows"
    gain = ((guess - model)[:, wrong] / guess[:, wrong].mean(axis=0)).mean(axis=1)
    least = float(np.quantile(_drawn_means(gain), CHANCE))
    if least > 0:
        return ""
    return (
        f"on {len(true)} test rows its squared error is {gain.mean():.1%} less than that of always answering the mean, "
        f"and with {1 - CHANCE:.0%} confidence at least {least:.1%} less; expected more than 0 %"
    )


def _coin(heads: int, throws: int) -> float:
    """The probability that a fair coin shows at least so many heads."""
    counts = np.arange(heads, throws + 1)
    logs = [
        math.lgamma(throws + 1) - math.lgamma(one + 1) - math.lgamma(throws - one + 1)
        for one in counts.tolist()
    ]
    return float(np.exp(np.array(logs) - throws * math.log(2)).sum())


def _drawn_means(gain: Floats) -> Floats:
    """The means of rows drawn with replacement."""
    random, rows = np.random.default_rng(0), len(gain)
    step = max(1, DRAWN_TOGETHER // rows)
    sizes = [min(step, DRAWS - start) for start in range(0, DRAWS, step)]
    return np.concatenate([gain[random.integers(0, rows, (size, rows))].mean(axis=1) for size in sizes])
