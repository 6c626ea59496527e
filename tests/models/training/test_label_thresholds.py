"""Thresholds of labels: the best on validation rows, and the usual one where these say little."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tidegate.models.errors import OptionsError
from tidegate.models.training.label_thresholds import FEWEST, choose_thresholds

RANDOM = np.random.default_rng(4)
TRUTH = RANDOM.random((200, 3)) < (0.1, 0.3, 0.6)
# Each label is ranked well, and on a scale of its own, so that 0.5 is wrong for two of them.
GIVEN = np.clip(0.3 * TRUTH + RANDOM.normal(0, 0.08, TRUTH.shape) + (0.1, 0.35, 0.6), 0, 1)


def micro(truth: np.ndarray, given: np.ndarray, limits: tuple[float, ...]) -> float:
    return float(f1_score(truth, given >= limits, average="micro"))


def test_no_other_threshold_of_one_label_is_better() -> None:
    chosen = choose_thresholds(TRUTH, GIVEN)
    best = micro(TRUTH, GIVEN, chosen)
    assert best > micro(TRUTH, GIVEN, (0.5,) * 3) + 0.1
    for place in range(3):
        for other in np.linspace(0, 1, 101):
            changed = tuple(other if at == place else one for at, one in enumerate(chosen))
            assert micro(TRUTH, GIVEN, changed) <= best + 1e-12


def test_a_threshold_lies_between_two_probabilities() -> None:
    for place, limit in enumerate(choose_thresholds(TRUTH, GIVEN)):
        nearest = np.abs(GIVEN[:, place] - limit).min()
        assert limit == 0.5 or nearest > 1e-6


def test_a_label_of_few_rows_keeps_the_usual_one() -> None:
    rare = TRUTH.copy()
    rare[:, 0] = False
    rare[: FEWEST - 1, 0] = True
    assert choose_thresholds(rare, GIVEN)[0] == 0.5 != choose_thresholds(TRUTH, GIVEN)[0]
    assert choose_thresholds(~rare, GIVEN)[0] == 0.5


def test_nothing_changes_where_nothing_is_better() -> None:
    assert choose_thresholds(TRUTH, np.where(TRUTH, 0.9, 0.1)) == (0.5,) * 3


def test_validation_rows_are_needed() -> None:
    with pytest.raises(OptionsError, match="there are no validation rows; expected some"):
        choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2)))
