"""Metrics by name: one spelling, whatever is written, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.models.config.metrics import (
    KNOWN,
    OF_CLASSES,
    OF_KERAS,
    OF_NUMBERS,
    gated_as,
    higher_is_better,
    metric_named,
    monitor_named,
    spelled,
)
from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.state.home import Home

SPELLINGS = {
    "AUC": "auc",
    "auc": "auc",
    "roc_auc": "auc",
    "keras.metrics.AUC": "auc",
    "PR-AUC": "pr_auc",
    "average_precision": "pr_auc",
    "Precision": "precision",
    "Recall": "recall",
    "F1Score": "f1",
    "f1_score": "f1",
    "acc": "accuracy",
    "SparseCategoricalAccuracy": "accuracy",
    "binary_accuracy": "accuracy",
    "BalancedAccuracy": "balanced_accuracy",
    "TopKCategoricalAccuracy": "top_5_accuracy",
    "sparse_top_k_categorical_accuracy": "top_5_accuracy",
    "top_3_accuracy": "top_3_accuracy",
    "Top3Accuracy": "top_3_accuracy",
    "MeanAbsoluteError": "mae",
    "root_mean_squared_error": "rmse",
    "MSE": "mse",
    "R2Score": "r2",
    "TruePositives": "true_positives",
    "specificity": None,
    "top_0_accuracy": None,
    "": None,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_metric_has_one_spelling(name: str) -> None:
    found = SPELLINGS[name]
    assert spelled(name) == found
    if found is None:
        with pytest.raises(ValueError, match=r"unknown metric .*; expected one of: accuracy, auc"):
            metric_named(name)
        return
    assert metric_named(found) == found
    assert monitor_named(f"val_{name}") == f"val_{found}" and monitor_named(name) == found
    if not found.startswith("r2"):  # test_r2_score is r2 of a column named score
        assert gated_as(f"test_{name}") == f"test_{found}"
        assert gated_as(f"folds_{name}_mean") == f"folds_{found}_mean"
    assert gated_as(f"val_{found}") == f"validation_{found}"


@pytest.mark.parametrize(
    "name", ["test_rmse_depth", "test_r2_score", "test_mae_mae", "epsilon", "loss", "test_loss"]
)
def test_another_name_stays_as_it_is(name: str) -> None:
    assert gated_as(name) == name


def test_keras_has_the_metrics_that_are_its_own() -> None:
    import keras

    for name in (*OF_KERAS, *OF_NUMBERS.values()):
        keras.metrics.get(name)
    lower = ("mae", "mape", "mse", "msle", "rmse", "hinge", "poisson", "false_positives", "kl_divergence")
    assert not any(higher_is_better(name) for name in lower)
    assert all(higher_is_better(name) for name in (*OF_CLASSES, "top_3_accuracy", "r2", "true_negatives"))
    assert len(set(KNOWN)) == len(KNOWN)


GOOD: dict[str, Any] = {"name": "a", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}


@pytest.mark.parametrize(
    ("training", "gate", "words"),
    [
        ({"metrics": ["AUC", "Recall"], "early_stopping": {"monitor": "val_AUC"}}, "test_Recall", ""),
        ({"metrics": ["top_2_accuracy"]}, "test_top_2_accuracy", ""),
        ({"metrics": ["rmse"], "loss": "mse"}, "test_rmse", ""),
        ({}, "test_top_2_accuracy", "add top_2_accuracy to training.metrics"),
        ({"metrics": ["specificity"]}, "test_loss", "training.metrics.0: unknown metric 'specificity'"),
        ({}, "test_specificity", 'no run has a metric "test_specificity"'),
        ({"metrics": ["auc"], "loss": "mse"}, "test_rmse", "'auc' in 'training.metrics' is for classes"),
        (
            {"metrics": ["auc"], "early_stopping": {"monitor": "val_recall"}},
            "test_loss",
            "'training.early_stopping.monitor' is 'val_recall', which is not computed; expected one of: "
            "auc, loss, val_auc, val_loss; add recall to training.metrics",
        ),
        ({}, "AUC", 'no run has a metric "AUC"; did you mean "test_auc"'),
        ({}, "Test_roc_auc", ""),
        (
            {"early_stopping": {"monitor": "test_auc"}},
            "test_loss",
            "'training.early_stopping.monitor' is 'test_auc', and an epoch has no such value; expected one of the "
            "training or the validation rows; name val_auc",
        ),
        (
            {"early_stopping": {"monitor": "val_auc"}},
            "test_loss",
            "'val_auc', which is not computed; expected one of: accuracy, loss, mae, rmse, val_accuracy",
        ),
        (
            {
                "loss": "mse",
                "learning_rate_schedule": {
                    "name": "reduce_on_plateau",
                    "monitor": "root_mean_squared_errors",
                },
            },
            "test_rmse",
            "'training.learning_rate_schedule.monitor' is 'root_mean_squared_errors'",
        ),
    ],
)
def test_a_plan_takes_metrics_by_name_and_refuses_what_no_epoch_has(
    training: dict[str, Any], gate: str, words: str, tmp_path: Path
) -> None:
    change = {"training": training, "gate": {"metric": gate}}
    if not words:
        check(validate(GOOD | change, "here"), Home(tmp_path))
        return
    with pytest.raises((ExperimentError, ModelsError)) as raised:
        check(validate(GOOD | change, "here"), Home(tmp_path))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"gate": {"metric": "test_loss", "minimum": 0.9, "maximum": 0.1}},
            "gate.minimum: 0.9 for test_loss is above gate.maximum: 0.1; expected minimum <= maximum",
        ),
        (
            {
                "data": {"dataset": "wine", "split": {"validation": 0}},
                "training": {"metrics": ["auc"], "early_stopping": {"monitor": "val_AUC"}},
            },
            "is 'val_auc', and data.split.validation is 0; expected validation rows",
        ),
        (
            {"search": {"method": "grid", "trials": 9, "space": {"training.epochs": [1, 2]}}},
            "search.trials: 9, and the grid has 2; expected at most that many",
        ),
    ],
)
def test_a_plan_refuses_what_no_run_can_meet(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises((ExperimentError, ModelsError)) as raised:
        check(validate(GOOD | change, "here"), Home(tmp_path))
    assert words in str(raised.value)
