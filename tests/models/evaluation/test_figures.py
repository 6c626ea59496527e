"""The pictures are PNG files of the kind the task asks for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tidegate.models.evaluation.figures import confusion_matrix, reliability_curve, render

RANDOM = np.random.default_rng(0)
HISTORY = [
    {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4},
    {"loss": 0.5, "accuracy": 0.8},
]
HISTORY[1] |= {"val_loss": 0.7, "val_accuracy": None}  # not defined in this epoch


@pytest.mark.parametrize("classes", [2, 10, 120, 1500])
def test_a_classifier_has_three_pictures(classes: int) -> None:
    report = {
        "history": HISTORY,
        "task": "classification",
        "classes": [f"a class with a long name, {index}" for index in range(classes)],
        "y_true": RANDOM.integers(0, classes, 60),
        "y_pred": RANDOM.dirichlet(np.ones(classes), 60),
    }
    pictures = dict(render(report))
    assert list(pictures) == ["learning_curves.png", "confusion_matrix.png", "reliability_curve.png"]
    for content in pictures.values():
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "PNG" and min(image.size) >= 300 and max(image.size) < 2500


def test_of_very_many_classes_the_most_frequent_are_drawn() -> None:
    """A matrix of 60,000 classes would take 29 GB."""
    classes = [f"c{index}" for index in range(60_000)]
    truth = np.concatenate([np.repeat(np.arange(39) * 7, 3), RANDOM.integers(300, 60_000, 60)])
    figure = confusion_matrix(truth, np.where(truth == 7, 59_999, truth), classes)
    axes = figure.axes[0]
    assert axes.get_title() == "Confusion matrix, 177 rows, 39 of 60,000 classes"
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[:2] == ["c0", "c7"] and names[-1] == "all others" and len(names) == 40
    shown = axes.images[0].get_array()
    assert shown[0, 0] == 1 and shown[1, 39] == 1 and shown[39, 39] == 1


def test_reliability_is_shown_before_and_after_calibration() -> None:
    truth, sure = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    figure = reliability_curve(truth, (sure + 0.5) / 2, before=sure)
    lines = {line.get_label(): line.get_xdata().tolist() for line in figure.axes[0].lines}
    assert lines["before calibration"] == pytest.approx([0.7, 0.8, 0.9])
    assert lines["model"] == pytest.approx([0.6, 0.65, 0.7])


def test_a_regressor_has_a_plot_for_each_number() -> None:
    truth = RANDOM.normal(size=(40, 5))
    report = {"history": [], "task": "regression", "classes": [], "names": ["u", "v"], "y_true": truth}
    assert [name for name, _ in render({**report, "y_pred": truth})] == ["predicted_vs_true.png"]


def test_the_matrix_counts_true_classes_in_rows() -> None:
    figure = confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), ["cat", "dog"])
    shown = {(text.get_position(), text.get_text()) for text in figure.axes[0].texts}
    assert shown == {((0, 0), "1"), ((1, 0), "1"), ((1, 1), "1")}
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["cat", "dog"]
