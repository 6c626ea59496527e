"""A model that knows nothing passes as seldom as chance allows; one that knows something passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.models.evaluation.guessing import CHANCE, no_better_class, no_better_number

HALF = {"a": 40, "b": 41}


def answers(chosen: Any) -> np.ndarray:
    return np.eye(2)[np.asarray(chosen)]


@pytest.mark.parametrize(
    ("truth", "chosen", "rows", "reason"),
    [
        ([0, 1] * 5, [0, 1] * 5, HALF, ""),  # five gained, none lost: 1 / 32
        ([0, 1] * 4, [0, 1] * 4, HALF, "right in 8 of 8 test rows, and always answering 'b' in 4"),  # 1 / 16
        ([0, 1] * 20, [1] * 40, HALF, "expected more right ones than chance gives in 5% of the cases"),
        ([0] * 40, [0] * 40, {"a": 150, "b": 1}, "always answering 'a' in 40"),
        ([0] * 36 + [1] * 4, [0] * 40, {"a": 90, "b": 10}, "right in 36 of 40"),
        ([0] * 30 + [1] * 10, [0] * 30 + [1] * 10, {"a": 90, "b": 30}, ""),
    ],
)
def test_a_classifier_must_beat_the_most_frequent_class(
    truth: list[int], chosen: list[int], rows: dict[str, int], reason: str
) -> None:
    told = no_better_class(np.array(truth), answers(chosen), rows)
    assert reason in told and bool(told) is bool(reason)


@pytest.mark.parametrize(
    ("truth", "predicted", "means", "reason"),
    [
        (np.arange(20.0), np.arange(20.0) + 1, [9.5], ""),
        (np.arange(20.0), np.full(20, 9.5), [9.5], "its squared error is 0.0% less than"),
        (np.arange(20.0), np.arange(20.0)[::-1], [9.5], "its squared error is 300.0% more than"),
        (np.full(20, 3.0), np.full(20, 2.0), [3.0], "the mean of the target is the true value of all 20"),
        (np.zeros(20), np.zeros(20), [37.0], ""),  # few others, none of them among the test rows
        # A column that never changes counts for nothing.
        (
            np.stack([np.arange(20.0), np.ones(20)], 1),
            np.stack([np.arange(20.0), np.zeros(20)], 1),
            [9, 1],
            "",
        ),
    ],
)
def test_a_regressor_must_beat_the_mean(
    truth: np.ndarray, predicted: np.ndarray, means: list[float], reason: str
) -> None:
    told = no_better_number(truth, predicted, means)
    assert reason in told and bool(told) is bool(reason)


@pytest.mark.parametrize("rows", [8, 40])
def test_what_knows_nothing_passes_seldom(rows: int) -> None:
    random, tries = np.random.default_rng(rows), 300
    passed = np.zeros(2)
    for _ in range(tries):
        truth, chosen = random.integers(0, 2, (2, rows))
        number, guess = random.normal(size=(2, rows))
        passed += [
            not no_better_class(truth, answers(chosen), HALF),
            not no_better_number(number, 0.1 * guess, [0.0]),
        ]
    assert (passed / tries < 1.5 * CHANCE).all()
