"""The metrics of sets of labels against scikit-learn's, in each epoch too, and guessing."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tidegate.models.config.metrics import OF_LABELS, THRESHOLD
from tidegate.models.evaluation.guessing import no_better_labels
from tidegate.models.evaluation.targets import evaluate_target, interval_of
from tidegate.models.preprocessing.schema import Target

TARGET = Target(names=("tags",), task="multilabel", classes=("a", "b", "c"))
RANDOM = np.random.default_rng(0)
TRUTH = (RANDOM.random((80, 3)) < [0.5, 0.2, 0.7]).astype(np.float32)
SCORES = np.clip(0.55 * TRUTH + 0.6 * RANDOM.random((80, 3)), 0.01, 0.99).astype(np.float32)


def test_they_are_scikit_learns() -> None:
    chosen = SCORES >= THRESHOLD
    found = evaluate_target(TARGET, TRUTH, SCORES)
    assert not found.undefined
    expected = {
        "f1_micro": reference.f1_score(TRUTH, chosen, average="micro"),
        "f1": reference.f1_score(TRUTH, chosen, average="macro"),
        "auc": reference.roc_auc_score(TRUTH, SCORES),
        "pr_auc": reference.average_precision_score(TRUTH, SCORES),
        "precision": reference.precision_score(TRUTH, chosen, average="micro"),
        "recall": reference.recall_score(TRUTH, chosen, average="micro"),
        "subset_accuracy": reference.accuracy_score(TRUTH, chosen),
        "hamming": reference.hamming_loss(TRUTH, chosen),
        "loss": np.mean(
            [reference.log_loss(TRUTH[:, one], SCORES[:, one].astype(float)) for one in range(3)]
        ),
    }
    assert found.values == pytest.approx(expected, rel=1e-6)


def test_a_label_of_all_rows_has_no_area_and_rows_without_labels_no_recall() -> None:
    found = evaluate_target(TARGET, np.zeros((4, 3)), np.full((4, 3), 0.2))
    assert found.undefined == {
        "auc": "each label is in all rows or in none",
        "pr_auc": "each label is in all rows or in none",
        "recall": "no row has a label",
    }


def test_a_model_that_looks_is_better_than_guessing_and_one_that_does_not_is_told() -> None:
    assert no_better_labels(TARGET, TRUTH, SCORES) == ""
    told = no_better_labels(TARGET, TRUTH, RANDOM.random((80, 3)))
    assert "area under the ROC curve on 80 test rows is" in told
    low, high = interval_of(TARGET, "f1", TRUTH, (SCORES, 1 - SCORES), 0.95)
    assert 0 < low < high


def test_those_of_an_epoch_are_the_same() -> None:
    from tidegate.models.training.measures.label_metrics import label_metric

    expected = evaluate_target(TARGET, TRUTH, SCORES).values
    for name in OF_LABELS:
        metric = label_metric(name, 3)
        for start in range(0, 80, 20):
            metric.update_state(TRUTH[start : start + 20], SCORES[start : start + 20])
        assert float(metric.result()) == pytest.approx(expected[name], abs=2e-2 if "auc" in name else 1e-5)
