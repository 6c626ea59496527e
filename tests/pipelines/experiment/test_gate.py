"""The gate: what ranks, in which direction, what passes, and in which words it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.evaluation.metrics import evaluate
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.gate import (
    METRICS,
    Compared,
    Criterion,
    check_metric,
    check_name,
    criteria,
    criteria_for,
    reasons_against,
)
from tidegate.pipelines.experiment.ranking import lower_is_better, rank


def criterion(metric: str, **more: float | None) -> Criterion:
    return Criterion.model_validate({"metric": metric, "improve_on_champion": None} | more)


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("test_accuracy", False),
        ("test_f1", False),
        ("test_auc", False),
        ("test_r2", False),
        ("test_r2_depth", False),
        ("test_loss", True),
        ("validation_loss", True),
        ("test_rmse", True),
        ("test_rmse_depth", True),
        ("test_mae", True),
        ("test_ece", True),
        ("folds_loss_mean", True),
        ("folds_accuracy_mean", False),
        ("test_iou_mae", False),
        ("folds_iou_data_loss_mean", False),
    ],
)
def test_the_better_direction(metric: str, lower: bool) -> None:
    assert lower_is_better(metric) is lower


def test_each_metric_that_a_task_has_is_of_a_known_direction() -> None:
    known = {name for names in METRICS.values() for name in names}
    higher = {name for name in known if not lower_is_better(f"test_{name}")}
    assert higher == {
        *("accuracy", "balanced_accuracy", "subset_accuracy", "precision", "recall", "f1", "f1_micro"),
        *("entity_f1", "auc", "pr_auc", "map", "map50", "mean_iou", "r2", "coverage"),
    }
    assert lower_is_better("folds_mase_mean") and lower_is_better("validation_pinball")


@pytest.mark.parametrize(
    ("metric", "order"), [("test_accuracy", [1, 0, 2]), ("test_loss", [2, 0, 1]), ("test_f1", [2, 0, 1])]
)
def test_the_best_comes_first_and_of_equal_ones_that_of_the_lowest_loss(
    metric: str, order: list[int]
) -> None:
    values = [(0.8, 0.5, 0.7), (0.9, 0.6, 0.7), (0.1, 0.2, 0.7)]
    names = ("test_accuracy", "test_loss", "test_f1")
    candidates = [dict(zip(names, row, strict=True)) for row in values]
    assert rank(candidates, metric) == order


def test_without_a_gate_a_candidate_must_not_be_worse() -> None:
    for task, metric in (("classification", "test_accuracy"), ("regression", "test_rmse")):
        (only,) = criteria_for([], task)
        assert only.metric == metric
        assert reasons_against([only], {metric: 0.5}, {}) == []
        assert reasons_against([only], {metric: 0.5}, {metric: Compared(metric, 0.5, 0.5, 9)}) == []
    assert criteria_for([criterion("test_f1", minimum=0.5)], "regression")[0].metric == "test_f1"


@pytest.mark.parametrize(
    ("asked", "value", "champion", "reason"),
    [
        (criterion("test_accuracy", minimum=0.9), 0.9, None, ""),
        (
            criterion("test_accuracy", minimum=0.9),
            0.899,
            None,
            "test_accuracy is 0.899, below the minimum 0.9",
        ),
        (criterion("test_rmse", maximum=2), 2.0, None, ""),
        (criterion("test_rmse", maximum=2), 2.5, None, "test_rmse is 2.5, above the maximum 2"),
        (criterion("test_auc", minimum=0.5), float("nan"), None, "test_auc is nan, below the minimum 0.5"),
        (criterion("test_auc", maximum=0.5), float("nan"), None, "test_auc is nan, above the maximum 0.5"),
        (criterion("test_accuracy", improve_on_champion=0.0), 0.8, 0.8, ""),
        (criterion("test_accuracy", improve_on_champion=0.0), 0.79, 0.8, "expected not worse"),
        (criterion("test_accuracy", improve_on_champion=0.05), 0.85, 0.8, ""),
        (criterion("test_accuracy", improve_on_champion=0.05), 0.84, 0.8, "expected an improvement of 0.05"),
        (
            criterion("test_rmse", improve_on_champion=0.0),
            3.0,
            2.0,
            "test_rmse 3 against 2 of the champion on 500 rows",
        ),
        (criterion("test_rmse", improve_on_champion=0.5), 1.5, 2.0, ""),
        (criterion("test_rmse", improve_on_champion=None), 9.0, 2.0, ""),
        (criterion("test_accuracy", improve_on_champion=0.0), 0.1, None, ""),
        (criterion("test_auc", improve_on_champion=0.0), float("nan"), 0.5, "expected not worse"),
    ],
)
def test_a_criterion(asked: Criterion, value: float, champion: float | None, reason: str) -> None:
    metric = asked.metric
    compared = {} if champion is None else {metric: Compared(metric, value, champion, 500)}
    reasons = reasons_against([asked], {metric: value}, compared)
    assert len(reasons) == (1 if reason else 0)
    assert reason in "".join(reasons)


@pytest.mark.parametrize(
    ("metric", "wanted", "low", "high", "passes"),
    [
        ("test_accuracy", 0.0, -0.02, 0.001, True),  # perhaps not worse: chance does not refuse
        ("test_accuracy", 0.0, -0.02, -0.001, False),  # shown to be worse
        ("test_accuracy", 0.0, 0.0, 0.0, True),  # the same answers
        ("test_accuracy", -0.01, -0.02, -0.005, True),  # perhaps not worse by more than is allowed
        ("test_accuracy", -0.01, -0.02, -0.015, False),
        ("test_accuracy", 0.01, 0.005, 0.05, False),  # perhaps not better by as much: chance does not release
        ("test_accuracy", 0.01, 0.01, 0.05, True),
        ("test_rmse", 0.0, -2.0, -1.0, False),
        ("test_rmse", 0.5, 0.6, 1.0, True),
    ],
)
def test_chance_neither_refuses_nor_gives_an_improvement(
    metric: str, wanted: float, low: float, high: float, passes: bool
) -> None:
    asked = criterion(metric, improve_on_champion=wanted)
    middle = (low + high) / 2 * (-1 if metric == "test_rmse" else 1)
    found = Compared(metric, 5 + middle, 5.0, 500, 0.95, low, high)
    assert (reasons_against([asked], {metric: 5.0}, {metric: found}) == []) is passes


@pytest.mark.parametrize(
    "asked", [{"metric": "test_auc", "improve_on_champion": None}, {"metric": "validation_auc"}]
)
def test_a_confidence_without_a_comparison_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(
        ValueError, match="confidence is of the comparison with the champion, and there is none"
    ):
        Criterion.model_validate({**asked, "confidence": 0.9})
    assert Criterion.model_validate(Criterion.model_validate(asked).model_dump()).confidence == 0.95


def test_a_comparison_is_told_with_its_interval() -> None:
    told = str(Compared("test_rmse", 2.0, 2.5, 1234, 0.95, 0.25, 0.75))
    assert told == (
        "test_rmse 2 against 2.5 of the champion on 1,234 rows that neither learned from; difference -0.5, "
        "95 % interval -0.75 … -0.25"
    )


def test_what_the_champion_has_not_is_not_compared() -> None:
    asked = criterion("folds_accuracy_mean", minimum=0.5, improve_on_champion=0.0)
    assert reasons_against([asked], {"folds_accuracy_mean": 0.6}, {}) == []


def test_an_undefined_metric_is_a_refusal_with_the_reason_and_ranks_last() -> None:
    asked = [criterion("test_auc", minimum=0.5), criterion("test_accuracy", minimum=0.9)]
    undefined = {"test_auc": "all rows have the class 'fine'"}
    check_metric("test_auc", {"test_accuracy": 0.5}, undefined)
    told = reasons_against(asked, {"test_accuracy": 0.5}, {}, undefined)
    assert told[0].startswith("test_auc is undefined: all rows have the class 'fine'") and len(told) == 2
    assert rank([{}, {"test_auc": 0.2}, {}, {"test_auc": 0.9}], "test_auc") == [3, 1, 0, 2]
    assert rank([{}, {"test_loss": 0.2}, {"test_loss": 0.1}], "test_loss") == [2, 1, 0]


def test_no_gate_at_all_asks_for_nothing() -> None:
    (only,) = criteria_for("none", "classification")
    assert (only.metric, only.minimum, only.improve_on_champion) == ("test_accuracy", None, None)
    assert criteria("none") == [] and criteria([only]) == [only]


def test_every_criterion_that_is_not_met_is_told() -> None:
    asked = [
        criterion("test_accuracy", minimum=0.9, improve_on_champion=0.0),
        criterion("test_loss", maximum=1),
    ]
    compared = {"test_accuracy": Compared("test_accuracy", 0.5, 0.6, 500)}
    told = reasons_against(asked, {"test_accuracy": 0.5, "test_loss": 2.0}, compared)
    assert [reason.split()[0] for reason in told] == ["test_accuracy", "test_accuracy", "test_loss"]


def test_a_metric_that_the_run_does_not_have_is_named() -> None:
    with pytest.raises(ExperimentError, match='no metric "test_auk"; did you mean "test_auc"'):
        check_metric("test_auk", {"test_auc": 1.0})


@pytest.mark.parametrize(
    ("metric", "task", "right"),
    [
        ("test_accuracy", None, True),
        ("validation_rmse", None, True),
        ("test_rmse_depth", None, True),
        ("test_rmse_depth", "regression", True),
        ("test_rmse_depth", "classification", False),
        ("test_accuracy", "regression", False),
        ("accuracy", None, False),
        ("train_accuracy", None, False),
    ],
)
def test_a_metric_that_no_run_could_have_is_refused_by_name(
    metric: str, task: str | None, right: bool
) -> None:
    if right:
        check_name(metric, task)
        return
    with pytest.raises(ExperimentError, match="expected one of: test_"):
        check_name(metric, task)


def test_the_names_are_those_of_the_metrics() -> None:
    truth = np.array([0, 1, 1, 0])
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    assert set(evaluate("classification", truth, chances, (0, 1)).values) == set(METRICS["classification"])
    numbers = np.array([1.0, 2.0, 3.0])
    assert set(evaluate("regression", numbers, numbers, (), ("y",)).values) == set(METRICS["regression"])
