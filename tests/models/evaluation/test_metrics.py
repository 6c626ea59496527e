"""Metrics against scikit-learn's, and at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from tidegate.models.evaluation.evaluation import NAMES, Evaluation
from tidegate.models.evaluation.metrics import calibration_error, evaluate, to_predictions

RANDOM = np.random.default_rng(0)


def test_several_classes_are_judged_as_by_scikit_learn() -> None:
    truth = RANDOM.integers(0, 4, 300)
    probabilities = RANDOM.dirichlet(np.ones(4), 300)
    values = evaluate("classification", truth, probabilities, range(4)).values
    chosen = probabilities.argmax(axis=1)
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(truth, chosen))
    assert values["f1"] == pytest.approx(reference.f1_score(truth, chosen, average="macro"))
    assert values["loss"] == pytest.approx(reference.log_loss(truth, probabilities))
    assert values["auc"] == pytest.approx(reference.roc_auc_score(truth, probabilities, multi_class="ovr"))
    assert values["precision"] == pytest.approx(reference.precision_score(truth, chosen, average="macro"))
    assert values["recall"] == pytest.approx(reference.recall_score(truth, chosen, average="macro"))
    assert values["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, chosen))
    areas = [reference.average_precision_score(truth == one, probabilities[:, one]) for one in range(4)]
    assert values["pr_auc"] == pytest.approx(np.mean(areas))
    assert set(values) == set(NAMES["classification"])
    tops = evaluate("classification", truth, probabilities, range(4), (), (1, 2)).values
    assert tops["top_1_accuracy"] == values["accuracy"]
    assert tops["top_2_accuracy"] == pytest.approx(reference.top_k_accuracy_score(truth, probabilities, k=2))


def test_of_two_classes_the_second_is_looked_for() -> None:
    truth = RANDOM.integers(0, 2, 200)
    score = np.round(RANDOM.random(200), 1) + 0.01  # none is at 0.5
    values = evaluate("classification", truth, np.stack([1 - score, score], axis=1), ("a", "b")).values
    chosen = (score > 0.5).astype(int)
    assert values["precision"] == pytest.approx(reference.precision_score(truth, chosen))
    assert values["recall"] == pytest.approx(reference.recall_score(truth, chosen))
    assert values["pr_auc"] == pytest.approx(reference.average_precision_score(truth, score))
    never = evaluate("classification", 0 * truth, np.stack([1 - score, score], axis=1), ("a", "b"))
    assert set(never.undefined) == {"auc", "recall", "pr_auc"} and never.values["precision"] == 0


def test_two_classes_have_an_area_under_the_curve_with_ties() -> None:
    truth = RANDOM.integers(0, 2, 200)
    score = np.round(RANDOM.random(200), 1)
    values = evaluate("classification", truth, np.stack([1 - score, score], axis=1), ("a", "b")).values
    assert values["auc"] == pytest.approx(reference.roc_auc_score(truth, score))


def test_a_certain_and_wrong_answer_has_a_finite_loss() -> None:
    values = evaluate("classification", np.array([0]), np.array([[0.0, 1.0]]), ("a", "b")).values
    assert values["loss"] == pytest.approx(-np.log(1e-7))
    assert values["ece"] == pytest.approx(1)


def test_calibration_error_is_the_gap_of_the_bins() -> None:
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.45, 0.55]] * 2)
    truth = np.array([0, 0, 0, 1, 1, 1])
    assert calibration_error(truth, probabilities, bins=10) == pytest.approx((4 * 0.05 + 2 * 0.45) / 6)


def test_numbers_are_judged_as_by_scikit_learn() -> None:
    truth = RANDOM.normal(size=(100, 2))
    predicted = truth + RANDOM.normal(size=(100, 2)) * 0.3
    values = evaluate("regression", truth, predicted, names=("u", "v")).values
    rmse = np.sqrt(np.mean((truth - predicted) ** 2, axis=0))
    assert values["rmse"] == pytest.approx(rmse.mean()) and values["rmse_u"] == pytest.approx(rmse[0])
    assert values["mae"] == pytest.approx(reference.mean_absolute_error(truth, predicted))
    assert values["r2"] == pytest.approx(reference.r2_score(truth, predicted))
    assert values["loss"] == pytest.approx(reference.mean_squared_error(truth, predicted))
    one = evaluate("regression", truth[:, 0], predicted[:, :1])
    assert set(one.values) == {"rmse", "mae", "r2", "loss"} and not one.undefined


def test_one_probability_becomes_two() -> None:
    np.testing.assert_allclose(to_predictions(np.array([[0.2]]), "sigmoid"), [[0.8, 0.2]])
    assert to_predictions(np.zeros((3, 2)), "linear").dtype == np.float32


SURE = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0], [0.3, 0.7, 0.0]])
NUMBERS = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]])


@pytest.mark.parametrize(
    ("task", "truth", "predicted", "undefined"),
    [
        ("classification", [0, 0, 0, 0], SURE, {"auc": "all rows have the class 'a'"}),
        ("classification", [0, 1, 0, 1], SURE, {}),  # class c has no row: the figures of the others stay
        ("classification", [], SURE[:0], dict.fromkeys(NAMES["classification"], "there are no rows")),
        (
            "classification",
            [0, 1, 0, 1],
            SURE * [[1], [np.nan], [1], [1]],
            dict.fromkeys(NAMES["classification"], "1 of 4 predictions are no finite numbers"),
        ),
        ("regression", NUMBERS[:, 1], NUMBERS[:, 0], {"r2": "the true value is 2 in all 3 rows"}),
        ("regression", NUMBERS[:1, 0], NUMBERS[:1, 0], {"r2": "the true value is 1 in all 1 rows"}),
        ("regression", NUMBERS, NUMBERS, {"r2_v": "the true value is 2 in all 3 rows"}),
        ("regression", NUMBERS[:0], NUMBERS[:0], dict.fromkeys(NAMES["regression"], "there are no rows")),
        (
            "regression",
            NUMBERS[:, 0],
            np.array([1, np.inf, np.nan]),
            dict.fromkeys(NAMES["regression"], "2 of 3 predictions are no finite numbers"),
        ),
    ],
)
def test_a_metric_is_a_number_or_undefined_for_a_reason(
    task: str, truth: Any, predicted: np.ndarray, undefined: dict[str, str]
) -> None:
    classes = ("a", "b", "c") if task == "classification" else ()
    found = evaluate(task, np.asarray(truth), predicted, classes, ("u", "v"))
    assert found.undefined == undefined
    assert set(NAMES[task]) <= found.values.keys() | found.undefined.keys()
    assert all(np.isfinite(value) for value in found.values.values())


def test_a_column_that_is_constant_leaves_the_figures_of_the_others() -> None:
    values = evaluate(
        "regression", NUMBERS, NUMBERS + np.array([[0.5, 0], [0, 0], [0, 0]]), (), ("u", "v")
    ).values
    assert values["r2"] == values["r2_u"] == pytest.approx(1 - 0.25 / 3 / (2 / 3))


def test_joined_metrics_are_those_of_the_later_one() -> None:
    before, after = Evaluation({"a": 1.0}, {"b": "why"}), Evaluation({"b": 2.0}, {"a": "so"})
    assert before | after == Evaluation({"b": 2.0}, {"a": "so"})
    assert Evaluation.of({"a": np.inf, "b": 1}).prefixed("test_") == Evaluation(
        {"test_b": 1.0}, {"test_a": "it is inf, no finite number"}
    )
