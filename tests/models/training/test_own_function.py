"""A loop of the user's: what it is given, what it reports, what it returns, and how each mistake is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.models.training.test_checkpoint import Files, state
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training
from tidegate.models.errors import ModelsError, StoppedError
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import History
from tidegate.models.training.recipe import Recipe
from tidegate.models.user_code.project import use_project

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, :1] * 2).astype(np.float32)
CODE = """
import keras
import numpy as np

def net():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

def train(trial):
    model, optimizer = net(), keras.optimizers.SGD(trial.options["rate"])
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    (x,), y = trial.rows("train")[0].values(), trial.rows("train")[1]
    trial.restore(model)
    for epoch in range(trial.epoch, trial.epochs):
        loss = model.train_on_batch(x, y)
        goes_on = trial.report(epoch, loss=loss)
        trial.checkpoint(model)
        if not goes_on:
            break
    return model

def nothing(trial):
    trial.report(0, loss=1.0)

def silent(trial):
    return net()

def wide(trial):
    trial.report(0, loss=1.0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])

def other_inputs(trial):
    trial.report(0, loss=1.0)
    return keras.Sequential([keras.Input((9,)), keras.layers.Dense(1)])

def unseen(trial):
    trial.rows("test")

def nan(trial):
    trial.report(0, loss=float("nan"))

def twice(trial):
    trial.report(0, loss=1.0)
    trial.report(0, loss=1.0)

def text(trial):
    trial.report(0, loss="low")

def leaves(trial):
    raise SystemExit(3)

def two(trial, more):
    return net()
"""
TRAINING = {"epochs": 6, "options": {"rate": 0.1}, "checkpoint": {"every": 1}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "loops.py").write_text(CODE)
    use_project([tmp_path])
    yield
    use_project([])
    sys.modules.pop("loops", None)


def trained(function: str, keeper: Files | None = None, **more: Any) -> tuple[Any, History]:
    training = parse_options(Training, {**TRAINING, "function": f"loops:{function}"}, "training")
    target = Target(names=("y",), task="regression", classes=())
    recipe = Recipe({"family": "linear"}, training.model_dump(mode="json"), target, 5)
    transforms: Any = SimpleNamespace(input_specs={"x": InputSpec((4,), "float32", "numeric", 0)})
    return recipe.train(transforms, ({"x": X}, Y), ({"x": X}, Y), checkpoints=keeper, **more)


def test_what_the_loop_returns_answers_the_inputs_and_its_epochs_are_told() -> None:
    told: list[Any] = []
    model, history = trained("train", on_epoch=lambda *given: told.append(given[:2]))
    assert history.loop == "function" and history.monitor == "loss"
    assert [values["loss"] for _, values in told] == [values["loss"] for values in history.epochs]
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    assert predict(model, {"x": X}).shape == (60, 1)


def test_killed_it_resumes_after_the_epoch_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    expected, course = trained("train")
    with pytest.raises(StoppedError, match="the state is saved"):
        trained("train", Files(tmp_path, most=3))
    keeper = Files(tmp_path)
    found, history = trained("train", keeper)
    assert keeper.reasons == [] and history.resumed == (4, 0)
    assert (state(found), history.epochs) == (state(expected), course.epochs)


def test_stopped_at_a_rung_it_is_so_too_when_it_was_killed_before(tmp_path: Path) -> None:
    limits = [None, None, None, 0.0]
    expected, course = trained("train", medians=limits)
    assert (course.stopped, len(course.epochs)) == ("pruned", 4)
    with pytest.raises(StoppedError, match="the state is saved"):
        trained("train", Files(tmp_path, most=2), medians=limits)
    found, history = trained("train", Files(tmp_path), medians=limits)
    assert history.resumed is not None and (history.stopped, history.epochs) == ("pruned", course.epochs)
    assert state(found) == state(expected)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "training.function: loops:nothing: build returned a NoneType"),
        ("silent", "loops:silent reported nothing"),
        ("wide", r"output shape \(None, 3\); expected one output of shape \(None, 1\)"),
        ("other_inputs", "does not take the inputs"),
        ("unseen", "split 'test'; expected one of: train, validation"),
        ("nan", "loss is nan in epoch 1"),
        ("twice", "epoch 0 is reported and 1 comes next"),
        ("text", "loss is str 'low'; expected a number"),
        ("leaves", "loops.py:.* raised SystemExit: 3"),
        ("two", r"called with \(trial\): missing a required argument: 'more'"),
        ("tain", "loops has no 'tain'; did you mean train?"),
    ],
)
def test_each_mistake_is_told(function: str, said: str) -> None:
    with pytest.raises(ModelsError, match=said):
        trained(function)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"function": "train"}, "no reference"),
        ({"options": {"a": 1}}, "there is none"),
        (
            {"function": "a:b", "class_weights": "balanced", "optimizer": "sgd"},
            "optimizer, class_weights would not",
        ),
    ],
)
def test_what_a_loop_of_ones_own_would_not_use_is_refused(training: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelsError, match=said):
        parse_options(Training, training, "training")
