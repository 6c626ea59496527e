"""From which probability each label is answered: what gives validation rows the largest micro-F1.

Source: Fan, Lin, "A Study on Threshold Selection for Multi-label Classification", 2007: one label after the other gets
the threshold that is best with those of all others, until none changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import THRESHOLD
from tidegate.models.errors import OptionsError

Floats = NDArray[np.float64]

FEWEST = 5  # validation rows that must have a label, and must not, for a threshold of its own
ROUNDS = 50
DIGITS = 6


def choose_thresholds(truth: NDArray[Any], probabilities: NDArray[Any]) -> tuple[float, ...]:
    """A threshold for each label; 0.5 where fewer than FEWEST rows have it, or have it not.

    A threshold is halfway between two probabilities of these rows, so that rounding changes no answer to them.

    Args:
        truth: 0 and 1 of the validation rows `(n, labels)`.
        probabilities: the model's.

    Raises:
        OptionsError: there are no rows.
    """
    if not len(truth):
        raise OptionsError(
            "option 'training.thresholds' is 'validation' and there are no validation rows; expected some, because the "
            "thresholds are chosen on them; set data.split.validation, such as 0.1, or leave thresholds out"
        )
    true, given = np.asarray(truth) > 0.5, np.asarray(probabilities, np.float64)
    labels = [_Label(true[:, place], given[:, place]) for place in range(true.shape[1])]
    wanted = int(true.sum())
    right, answered = (sum(part) for part in zip(*(label.counts for label in labels), strict=True))
    for _ in range(ROUNDS):
        changed = False
        for label in labels:
            other_right, other_answered = right - label.counts[0], answered - label.counts[1]
            changed |= label.choose(other_right, other_answered + wanted)
            right, answered = other_right + label.counts[0], other_answered + label.counts[1]
        if not changed:
            break
    return tuple(round(label.threshold, DIGITS) for label in labels)


class _Label:
    """The thresholds that one label may have, and what each of them answers.

    Attributes:
        threshold: the chosen one.
        counts: right answers and answers with it.
    """

    def __init__(self, true: NDArray[np.bool_], given: Floats) -> None:
        order = np.argsort(-given, kind="stable")
        values = given[order]
        ends = np.append(
            np.flatnonzero(np.diff(values)) + 1, len(values)
        )  # how many reach each distinct value
        lower = np.append(values[ends[:-1]], 0.0)
        self._thresholds = np.append((values[0] + 1) / 2, (values[ends - 1] + lower) / 2)
        self._answered = np.append(0, ends)
        self._right = np.append(0, np.cumsum(true[order])[ends - 1])
        chosen = given >= THRESHOLD
        self.threshold, self.counts = THRESHOLD, (int((true & chosen).sum()), int(chosen.sum()))
        self._kept = min(int(true.sum()), int((~true).sum())) < FEWEST

    def choose(self, right: int, others: int) -> bool:
        """Take the threshold with the largest micro-F1, of several the one nearest to 0.5; whether it is a better one.

        Args:
            right: right answers of all other labels.
            others: their answers, and the labels that all rows have.
        """
        if self._kept:
            return False
        scores = 2 * (right + self._right) / (others + self._answered)
        now = 2 * (right + self.counts[0]) / (others + self.counts[1])
        if scores.max() <= now:
            return False
        best = np.flatnonzero(scores == scores.max())
        place = int(best[np.abs(self._thresholds[best] - THRESHOLD).argmin()])
        self.threshold = float(self._thresholds[place])
        self.counts = int(self._right[place]), int(self._answered[place])
        return True
