"""What an experiment may ask of its training, from the file to the endpoint."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import Cli
from tidegate.infra.mlflow.spool import events, names
from tidegate.infra.store import Ref
from tidegate.models.data.columns import load_columns
from tidegate.pipelines.driver.mlflow_sync import pictures
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home

ASKED = {
    "training.calibration": "temperature",
    "training.label_smoothing": 0.1,
    "training.regularization": "{l2: 0.0001}",
    "training.augmentation": "{shift: 0.1, rotate: 5}",
    "training.explain": 3,
    "serving.explain": "true",
    "data.split.folds": 2,
    "gate": "[{metric: test_accuracy, minimum: 0.9}, {metric: folds_accuracy_mean, minimum: 0.85}]",
}


@pytest.fixture(scope="module")
def asked(shared: Cli, digits: dict[str, Any]) -> dict[str, Any]:
    """A submit of `digits` that asks for everything at once, and begins with the weights of an earlier one."""
    given = ASKED | {"model.from": digits["run"], "model.freeze": "[dense]"}
    sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    answer: dict[str, Any] = shared.ok("submit", "digits", "--set", "name=asked", *sets)
    return answer


def test_a_calibrated_classifier_is_served_as_it_was_evaluated(asked: dict[str, Any], shared: Cli) -> None:
    metrics = asked["metrics"]
    assert metrics["temperature"] > 0 and asked["parity"] < 1e-5 and asked["runtime"] == "onnx"
    assert metrics["test_ece"] != metrics["test_ece_uncalibrated"]
    home = Home(shared.home)
    (trained,) = outputs_of(home, home.run_folder(asked["run"]).read(), "train")
    with np.load(home.store.fetch(Ref.model_validate(trained["report"]))) as report:
        chosen = [report[name].argmax(axis=1) for name in ("y_pred", "y_uncalibrated")]
        assert not np.array_equal(report["y_pred"], report["y_uncalibrated"])
    np.testing.assert_array_equal(*chosen)


def test_the_metrics_over_the_folds_are_in_the_run_and_before_the_gate(
    asked: dict[str, Any], shared: Cli
) -> None:
    assert asked["status"] == "done" and asked["metrics"]["folds_accuracy_std"] >= 0
    assert (
        f"accuracy_mean {asked['metrics']['folds_accuracy_mean']:.4f}" in shared("show", asked["run"]).stdout
    )
    folder = Home(shared.home).spool / asked["run"]
    told = [event for event in events(folder) if event["kind"] == "metrics"]
    assert told[-1]["values"]["folds_accuracy_mean"] == asked["metrics"]["folds_accuracy_mean"] > 0.85
    of_trial = [event.get("values", {}) for event in events(folder, names(folder)[1])]
    points = [values["fold_accuracy"] for values in of_trial if "fold_accuracy" in values]
    assert np.mean(points) == pytest.approx(asked["metrics"]["folds_accuracy_mean"]) and len(points) == 2


def test_the_explained_rows_are_pictures_of_the_run(asked: dict[str, Any], shared: Cli) -> None:
    home = Home(shared.home)
    (trained,) = outputs_of(home, home.run_folder(asked["run"]).read(), "train")
    names = [name for name, _ in pictures(home.store.fetch(Ref.model_validate(trained["report"])))]
    assert names == [
        "learning_curves.png",
        "confusion_matrix.png",
        "reliability_curve.png",
        "explanation_image.png",
    ]


def test_the_endpoint_explains_as_the_training_did(asked: dict[str, Any], shared: Cli) -> None:
    home = Home(shared.home)
    record = home.run_folder(asked["run"]).read()
    (trained,), (packaged,), (prepared,) = (
        outputs_of(home, record, step) for step in ("train", "package", "prepare")
    )
    assert packaged["runtime"] == "onnx" and packaged["explained"] < 1e-5
    with np.load(home.store.fetch(Ref.model_validate(trained["report"]))) as report:
        wanted = report["attribution/image"]
    columns = load_columns(home.store.fetch(Ref.model_validate(prepared["test"])))
    body = {"rows": columns["image"][:3].tolist(), "explain": True}
    request = urllib.request.Request(f"{asked['endpoint']}/predict", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    found = np.array([told["attributions"]["image"] for told in answer["explanations"]])
    np.testing.assert_allclose(found, wanted.sum(axis=-1), atol=1e-3 * np.abs(wanted).max())
    for told, prediction in zip(answer["explanations"], answer["predictions"], strict=True):
        assert told["output"] == prediction["label"]


def test_a_training_begins_with_the_earlier_weights_and_keeps_the_frozen_ones(
    asked: dict[str, Any], digits: dict[str, Any], shared: Cli
) -> None:
    home, kernels = Home(shared.home), []
    for run in (digits["run"], asked["run"]):
        (trained,) = outputs_of(home, home.run_folder(run).read(), "train")
        model = keras.models.load_model(home.store.fetch(Ref.model_validate(trained["keras"])))
        kernels.append([np.asarray(layer.get_weights()[0]) for layer in model.layers if layer.weights])
    np.testing.assert_array_equal(kernels[0][0], kernels[1][0])
    assert not np.array_equal(kernels[0][1], kernels[1][1])
