"""Losses, metrics and optimizers of a project: used as Keras would use them, refused in words where they can't be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.config.own_metrics import own_metrics
from tidegate.models.errors import ModelsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit
from tidegate.models.training.own.own_objects import measure
from tidegate.models.user_code.project import use_project

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
NUMBERS = (X[:, :1] * 2).astype(np.float32)
CLASSES = (X[:, 0] > 0).astype(np.int64)
SPECS = {"x": InputSpec((4,), "float32", "numeric", 0)}
CODE = """
import keras
from keras import ops

def pinball(y_true, y_pred, share=0.9):
    error = y_true - y_pred
    return ops.mean(ops.maximum(share * error, (share - 1) * error), axis=-1)

class Pinball(keras.losses.Loss):
    def __init__(self, share=0.9):
        super().__init__(name="pinball")
        self.share = share
    def call(self, y_true, y_pred):
        return pinball(y_true, y_pred, self.share)

half = Pinball(0.5)

def crossed(y_true, y_pred):
    return ops.abs(ops.reshape(y_true, (-1,)) - y_pred)

def one(y_true):
    return y_true

def broken(y_true, y_pred):
    raise ValueError("no such column")

def cross_entropy(y_true, y_pred):
    return ops.binary_crossentropy(y_true, y_pred, from_logits=True)

def bias(y_true, y_pred):
    return ops.mean(y_pred - y_true, axis=-1)

def undefined(y_true, y_pred):
    return ops.mean(y_pred) * float("nan")

class HighestError(keras.metrics.Metric):
    def __init__(self, name="highest_error", start=0.0):
        super().__init__(name=name)
        self.worst = self.add_variable((), "zeros", name="worst")
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.worst.assign(ops.maximum(self.worst, ops.max(ops.abs(y_true - y_pred))))
    def result(self):
        return ops.convert_to_tensor(self.worst)

class Named(HighestError):
    def __init__(self):
        super().__init__("another")

class Slow(keras.optimizers.SGD):
    def __init__(self, learning_rate=1e-9):
        super().__init__(learning_rate)

NUMBER = 3
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "mine.py").write_text(CODE)
    use_project([tmp_path])
    yield
    use_project([])
    sys.modules.pop("mine", None)


def trained(task: str = "regression", **training: Any) -> tuple[Any, dict[str, float]]:
    classes = ("a", "b") if task == "classification" else ()
    outputs = outputs_for(task, len(classes), 1, training.get("loss"))
    model = build_model({"family": "linear"}, SPECS, outputs, 1)
    rows = ({"x": X}, CLASSES if classes else NUMBERS)
    asked = {"epochs": 2, "optimizer": "sgd", **training}
    return model, fit(model, rows, rows, asked, task=task, classes=classes, seed=1).epochs[-1]


def test_a_loss_and_metrics_of_a_project_are_those_of_keras() -> None:
    """The values of an epoch are those that NumPy computes, and the weights follow the loss."""
    metrics = ["mine:bias", {"name": "mine:HighestError", "higher_is_better": False}]
    model, epoch = trained(loss={"name": "mine:pinball", "share": 0.75}, metrics=metrics)
    error = NUMBERS - predict(model, {"x": X})
    expected = {
        "val_loss": np.maximum(0.75 * error, -0.25 * error).mean(),
        "val_bias": -error.mean(),
        "val_highest_error": np.abs(error).max(),
    }
    assert {name: epoch[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    whole = {
        name: measure(one, NUMBERS, predict(model, {"x": X})) for name, one in own_metrics(metrics).items()
    }
    assert whole == pytest.approx(
        {name.removeprefix("val_"): one for name, one in expected.items() if name != "val_loss"}, rel=1e-4
    )


def test_classes_objects_and_optimizers_of_a_project() -> None:
    _, by_class = trained(loss={"name": "mine:Pinball", "share": 0.5})
    model, by_object = trained(loss="mine:half")
    assert by_class["val_loss"] == by_object["val_loss"]
    still, _ = trained(loss="mine:half", optimizer="mine:Slow")
    before = build_model({"family": "linear"}, SPECS, outputs_for("regression", 0, 1), 1)
    np.testing.assert_allclose(predict(still, {"x": X}), predict(before, {"x": X}), atol=1e-5)
    assert np.abs(predict(model, {"x": X}) - predict(before, {"x": X})).max() > 1e-3


def test_a_loss_of_logits_gets_what_stands_before_the_activation() -> None:
    built_in = trained("classification", loss="binary_crossentropy")[1]
    own = trained("classification", loss={"name": "mine:cross_entropy", "from_logits": True})[1]
    assert own["val_loss"] == pytest.approx(built_in["val_loss"], rel=1e-5)


def test_a_metric_without_a_value_says_so() -> None:
    (metric,) = own_metrics(["mine:undefined"]).values()
    assert measure(metric, NUMBERS, NUMBERS) == "mine:undefined returned nan, no finite number"
    assert measure(metric, NUMBERS[:0], NUMBERS[:0]) == "there are no rows"


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            {"loss": "mine:crossed"},
            r"mine:crossed returns shape \(2, 2\) for targets \(2, 1\).*one number a row",
        ),
        (
            {"loss": "mine:one"},
            r"training.loss: mine:one takes \(y_true\) and is called with \(y_true, y_pred\)",
        ),
        (
            {"loss": "mine:broken"},
            "mine.py:25: training.loss: calling mine:broken raised ValueError: no such column",
        ),
        ({"loss": "mine:NUMBER"}, "training.loss: mine:NUMBER is int 3; expected a function"),
        ({"loss": "mine:Slow"}, "mine:Slow is Slow .*; expected a keras Loss"),
        (
            {"loss": {"name": "mine:half", "share": 1}},
            r"mine:half is an object and has the options \['share'\]",
        ),
        (
            {"loss": {"name": "mine:pinball", "share": 0.1, "part": 1}},
            "is called with .*unexpected keyword argument",
        ),
        (
            {"loss": {"name": "mine:pinball", "target": "index"}},
            "option 'target' of loss 'mine:pinball' is 'index'",
        ),
        ({"loss": "mine:pinbal"}, "mine has no 'pinbal'; did you mean pinball?"),
        ({"metrics": ["mine:one"]}, "training.metrics: mine:one takes"),
        ({"metrics": ["mine:broken"]}, "mine.py:25: .*cannot be computed on the model's outputs"),
        ({"metrics": ["mine:Named"]}, "mine:Named has the name 'another'; expected 'named'"),
        ({"metrics": [{"name": "mae", "higher_is_better": True}]}, "metric 'mae' has options"),
        ({"metrics": [{"name": "mine:bias", "higher_is_better": "yes"}]}, "expected true or false"),
        ({"metrics": ["specificity"]}, "unknown metric 'specificity'.* my_metrics:specificity"),
        ({"optimizer": "mine:NUMBER"}, "training.optimizer: mine:NUMBER is int 3"),
        ({"optimizer": {"name": "mine:Slow", "momentum": 1}}, "unexpected keyword argument 'momentum'"),
    ],
)
def test_what_is_none_is_refused_in_words(training: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelsError, match=said):
        trained(**training)
