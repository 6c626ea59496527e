"""The metrics of scores of anomalies by hand, and what is undefined without known ones."""

import numpy as np
import pytest

from tidegate.models.evaluation.targets import evaluate_target
from tidegate.models.preprocessing.schema import Target

TARGET = Target(names=(), task="anomaly", shape=(2,), thresholds=(1.0,), label="broken", alarms=0.1)
SCORES = np.array([[0.2], [0.4], [1.5], [0.9], [3.0]])


def test_by_hand() -> None:
    found = evaluate_target(TARGET, np.array([0, 0, 0, 1, 1]), SCORES)
    assert found.values == pytest.approx(
        {
            "loss": (0.2 + 0.4 + 1.5) / 3,
            "alarms": 1 / 3,
            "auc": 5 / 6,
            "pr_auc": (1 + 2 / 3) / 2,
            "precision": 0.5,
            "recall": 0.5,
            "f1": 0.5,
        }
    )


def test_without_known_ones_there_are_scores_and_alarms() -> None:
    found = evaluate_target(TARGET.model_copy(update={"label": None}), np.full(5, np.nan), SCORES)
    assert found.values == pytest.approx({"loss": 1.2, "alarms": 0.4})
    assert found.undefined["auc"] == "data.anomaly.label is not stated"
    none = evaluate_target(TARGET, np.zeros(5), SCORES)
    assert none.undefined["auc"] == "all rows or none are known anomalies"
    assert evaluate_target(TARGET, np.ones(5), SCORES).undefined["alarms"] == "all rows are known anomalies"
