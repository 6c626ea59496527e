"""The interval of a difference holds the truth as often as it says, and neither one row nor a million decide."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.evaluation.metrics import evaluate
from tidegate.models.evaluation.paired_difference import interval, jackknife, token_interval
from tidegate.models.evaluation.text_metrics import evaluate_tokens, token_sums

CLASSES = ("accuracy", "loss", "f1", "ece", "auc")
NUMBERS = ("rmse", "mae", "r2", "loss", "rmse_u", "r2_v")


def classified(
    count: int, noise: float, random: np.random.Generator, classes: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the answers of two models that are equally good."""
    truth = random.integers(0, classes, count)
    answers = []
    for _ in range(2):
        logits = np.eye(classes)[truth] * 1.5 + noise * random.normal(size=(count, classes))
        powers = np.exp(logits)
        answers.append(powers / powers.sum(axis=1, keepdims=True))
    return truth, answers[0], answers[1]


@pytest.mark.parametrize("metric", ["accuracy", "auc"])  # tests/bench/fairness.py has the others
@pytest.mark.parametrize("classes", [2, 4])
def test_equal_classifiers_are_told_apart_as_seldom_as_promised(metric: str, classes: int) -> None:
    random, outside = np.random.default_rng(1), 0
    for _ in range(100):
        truth, one, other = classified(200, 1.0, random, classes)
        low, high = interval(metric, "classification", truth, (one, other), 0.9)
        outside += not low <= 0 <= high
    assert outside <= 20


@pytest.mark.parametrize("metric", [*CLASSES, "precision", "balanced_accuracy", "pr_auc", "top_2_accuracy"])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_interval_is_around_the_difference_of_the_metrics(metric: str, classes: int) -> None:
    random = np.random.default_rng(3)
    truth, one, other = classified(3000, 1.0, random, classes)
    values = [
        evaluate("classification", truth, answer, (), (), [2]).values[metric] for answer in (one, other)
    ]
    low, high = interval(metric, "classification", truth, (one, other), 0.99)
    assert low <= values[0] - values[1] <= high and high - low < 0.15


@pytest.mark.parametrize("metric", NUMBERS)
def test_of_numbers_too(metric: str) -> None:
    random = np.random.default_rng(4)
    truth = random.normal(size=(3000, 2)) * [1, 5]
    one, other = truth + random.normal(size=truth.shape), truth + 1.2 * random.normal(size=truth.shape)
    values = [evaluate("regression", truth, answer, (), ["u", "v"]).values[metric] for answer in (one, other)]
    low, high = interval(metric, "regression", truth, (one, other), 0.99, ["u", "v"])
    assert low <= values[0] - values[1] <= high
    assert (low > 0) == (metric == "r2" or (metric == "r2_v" and low > 0)) or high < 0


def test_one_row_of_6000_does_not_tell_two_models_apart() -> None:
    truth = np.random.default_rng(0).integers(0, 2, 6000)
    right = np.eye(2)[truth] * 0.8 + 0.1
    wrong = right.copy()
    wrong[17] = wrong[17, ::-1]
    low, high = interval("accuracy", "classification", truth, (wrong, right), 0.95)
    assert low < 0 < high
    assert interval("accuracy", "classification", truth, (right, right), 0.95) == (0.0, 0.0)


def test_what_is_not_defined_has_no_interval() -> None:
    one = np.full((9, 2), 0.5)
    low, high = interval("auc", "classification", np.zeros(9, int), (one, one), 0.95)
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("metric", ["loss", "perplexity", "accuracy"])
def test_texts_are_compared_by_their_tokens(metric: str) -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 5, (400, 6))
    found = [
        np.stack([random.uniform(0.2, 0.8, labels.shape), np.full(labels.shape, 0.5)], axis=1)
        for _ in range(2)
    ]
    values = [evaluate_tokens(labels, one).values[metric] for one in found]
    low, high = token_interval(metric, (token_sums(labels, found[0]), token_sums(labels, found[1])), 0.99)
    assert low <= values[0] - values[1] <= high


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(6).normal(size=20)
    without = [float(np.delete(values, place).mean()) for place in range(20)]
    low, high = jackknife(without, float(values.mean()), 0.95)
    assert (high - low) / 2 == pytest.approx(2.093 * values.std(ddof=1) / np.sqrt(20), rel=2e-3)
