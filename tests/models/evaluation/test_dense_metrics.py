"""The metrics of dense targets and of several outputs, against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tidegate.models.evaluation.guessing import guessed
from tidegate.models.evaluation.targets import evaluate_target, interval_of
from tidegate.models.preprocessing.schema import Target

RANDOM = np.random.default_rng(2)
MASK = Target(names=("mask",), task="segmentation", classes=(0, 1, 2), shape=(4, 5))
ANIMAL = Target(names=("animal",), task="classification", classes=("cat", "dog"))
WEIGHT = Target(names=("weight",), task="regression")
BOTH = Target(names=("weight", "animal"), task="multioutput", outputs=(ANIMAL, WEIGHT))


def test_classes_at_places_are_measured_over_all_places() -> None:
    truth = RANDOM.integers(0, 3, (30, 4, 5))
    given = RANDOM.dirichlet(np.ones(3), (30, 4, 5)) + np.eye(3)[truth]
    given /= given.sum(axis=-1, keepdims=True)
    found = evaluate_target(MASK, truth, given.reshape(30, -1)).values
    flat, chosen = truth.ravel(), given.argmax(axis=-1).ravel()
    assert found["mean_iou"] == pytest.approx(reference.jaccard_score(flat, chosen, average="macro"))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(flat, chosen))
    assert found["f1"] == pytest.approx(reference.f1_score(flat, chosen, average="macro"))
    assert found["loss"] == pytest.approx(reference.log_loss(flat, given.reshape(-1, 3)))


def test_arrays_of_numbers_are_one_column() -> None:
    truth, given = RANDOM.random((2, 20, 4, 5))
    found = evaluate_target(
        Target(names=("y",), task="regression", shape=(4, 5)), truth, given.reshape(20, -1)
    ).values
    assert found["rmse"] == pytest.approx(np.sqrt(reference.mean_squared_error(truth.ravel(), given.ravel())))
    assert found["r2"] == pytest.approx(reference.r2_score(truth.ravel(), given.ravel()))


def test_each_output_is_measured_as_if_it_were_alone_and_compared_with_guessing() -> None:
    animal, weight = RANDOM.integers(0, 2, 90), RANDOM.normal(50, 9, 90)
    shares = np.stack([1 - 0.8 * animal, 0.8 * animal], axis=1)
    truth = np.stack([animal, weight], axis=1).astype(np.float32)
    answers = np.concatenate([shares, np.full((90, 1), 3.0)], axis=1)
    found = evaluate_target(BOTH, truth, answers).values
    assert found["animal_accuracy"] == 1.0
    assert found["weight_mae"] == pytest.approx(np.abs(weight - 3).mean(), rel=1e-5)
    assert found["loss"] == pytest.approx(found["animal_loss"] + found["weight_loss"])
    summary = {
        "outputs": {
            "animal": {"classes": {"cat": {"train": 50}, "dog": {"train": 40}}},
            "weight": {"target": {"weight": {"mean": 50.0}}},
        }
    }
    assert list(guessed(BOTH, truth, answers, summary)) == ["weight"]
    better = np.concatenate([shares, weight[:, None] + 1], axis=1)
    low, high = interval_of(BOTH, "weight_rmse", truth, (better, answers), 0.95)
    assert low <= high < 0
