"""Metrics against scikit-learn's, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from tidegate.models.evaluation.metrics import calibration_error, evaluate, to_predictions

RANDOM = np.random.default_rng(0)


def test_several_classes_are_judged_as_by_scikit_learn() -> None:
    truth = RANDOM.integers(0, 4, 300)
    probabilities = RANDOM.dirichlet(np.ones(4), 300)
    values = evaluate("classification", truth, probabilities, range(4))
    chosen = probabilities.argmax(axis=1)
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(truth, chosen))
    assert values["f1"] == pytest.approx(reference.f1_score(truth, chosen, average="macro"))
    assert values["loss"] == pytest.approx(reference.log_loss(truth, probabilities))
    assert set(values) == {"accuracy", "f1", "loss", "ece"}


def test_two_classes_have_an_area_under_the_curve_with_ties() -> None:
    truth = RANDOM.integers(0, 2, 200)
    score = np.round(RANDOM.random(200), 1)
    values = evaluate("classification", truth, np.stack([1 - score, score], axis=1), ("a", "b"))
    assert values["auc"] == pytest.approx(reference.roc_auc_score(truth, score))
    one_class = evaluate("classification", np.zeros(200), np.stack([1 - score, score], axis=1), ("a", "b"))
    assert np.isnan(one_class["auc"])


def test_a_certain_and_wrong_answer_has_a_finite_loss() -> None:
    values = evaluate("classification", np.array([0]), np.array([[0.0, 1.0]]), ("a", "b"))
    assert values["loss"] == pytest.approx(-np.log(1e-7))
    assert values["ece"] == pytest.approx(1)


def test_calibration_error_is_the_gap_of_the_bins() -> None:
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.45, 0.55]] * 2)
    truth = np.array([0, 0, 0, 1, 1, 1])
    assert calibration_error(truth, probabilities, bins=10) == pytest.approx((4 * 0.05 + 2 * 0.45) / 6)


def test_numbers_are_judged_as_by_scikit_learn() -> None:
    truth = RANDOM.normal(size=(100, 2))
    predicted = truth + RANDOM.normal(size=(100, 2)) * 0.3
    values = evaluate("regression", truth, predicted, names=("u", "v"))
    rmse = np.sqrt(np.mean((truth - predicted) ** 2, axis=0))
    assert values["rmse"] == pytest.approx(rmse.mean()) and values["rmse_u"] == pytest.approx(rmse[0])
    assert values["mae"] == pytest.approx(reference.mean_absolute_error(truth, predicted))
    assert values["r2"] == pytest.approx(reference.r2_score(truth, predicted))
    assert values["loss"] == pytest.approx(reference.mean_squared_error(truth, predicted))
    assert set(evaluate("regression", truth[:, 0], predicted[:, :1])) == {"rmse", "mae", "r2", "loss"}


def test_one_probability_becomes_two() -> None:
    np.testing.assert_allclose(to_predictions(np.array([[0.2]]), "sigmoid"), [[0.8, 0.2]])
    assert to_predictions(np.zeros((3, 2)), "linear").dtype == np.float32
