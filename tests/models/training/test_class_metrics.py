"""Metrics of classes in an epoch are those of held-out rows, in every form of target and outputs."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.config.losses import Target, encode_target
from tidegate.models.evaluation.metrics import evaluate
from tidegate.models.training.measures.class_metrics import class_metric

NAMES = ("auc", "pr_auc", "precision", "recall", "f1", "balanced_accuracy", "top_2_accuracy")
RANDOM = np.random.default_rng(0)


def rows(classes: int, sharp: float) -> tuple[np.ndarray, np.ndarray]:
    truth = RANDOM.integers(0, classes, 400)
    scores = RANDOM.normal(size=(400, classes)) + 1.5 * np.eye(classes)[truth]
    odds = np.exp(sharp * scores)
    return truth, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("classes", "target", "sharp"),
    [
        (2, "probability", 1.0),
        (2, "index", 0.02),  # as before the first epoch
        (2, "one_hot", 6.0),  # as after too many
        (3, "index", 1.0),
        (30, "one_hot", 0.1),
    ],
)
def test_an_epochs_metrics_are_those_of_its_rows(classes: int, target: Target, sharp: float) -> None:
    truth, probabilities = rows(classes, sharp)
    expected = evaluate("classification", truth, probabilities, range(classes), (), (2,)).values
    given = probabilities[:, 1:] if target == "probability" else probabilities
    for name in NAMES:
        metric = class_metric(name, classes)
        for batch in np.split(np.arange(400), [150, 300]):
            metric.update_state(encode_target(target, truth[batch], classes), given[batch])
        assert float(metric.result()) == pytest.approx(
            expected[name], abs=4e-3 if name == "pr_auc" else 2e-3
        ), name
        assert metric.name == name


def test_what_rows_of_one_class_do_not_define_is_no_number() -> None:
    probabilities = np.tile(np.float32([0.4, 0.6]), (5, 1))
    expected = evaluate("classification", np.zeros(5), probabilities, range(2), (), (1,))
    for name in ("auc", "pr_auc", "precision", "recall", "f1", "balanced_accuracy", "top_1_accuracy"):
        metric = class_metric(name, 2)
        metric.update_state(np.zeros(5, np.int32), probabilities)
        if name in expected.undefined:
            assert np.isnan(float(metric.result())), name
        else:
            assert float(metric.result()) == pytest.approx(expected.values[name]), name


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_weight_0_are_not_there(name: str) -> None:
    truth, probabilities = rows(3, 1.0)
    found: list[float] = []
    for end, weights in ((400, np.arange(400) < 100), (100, np.ones(100))):
        metric = class_metric(name, 3)
        metric.update_state(truth[:end], probabilities[:end], sample_weight=weights.astype(np.float32))
        found.append(float(metric.result()))
    assert found[0] == pytest.approx(found[1], abs=1e-6)
