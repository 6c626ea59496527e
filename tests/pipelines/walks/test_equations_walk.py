"""What a learner runs first: a line found again, the digits by the equations alone, and a series, to live endpoints."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import Cli
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.train import Trained


def answers(endpoint: str, rows: list[Any]) -> list[Any]:
    body = json.dumps({"rows": rows}).encode()
    request = urllib.request.Request(f"{endpoint}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return list(json.load(answer)["predictions"])


def losses(answer: dict[str, Any]) -> list[float]:
    """The winner's loss after each epoch, asked of MLflow."""
    root = answer["mlflow_url"].partition("/#/")[0]
    run = answer["trials"][0]["mlflow_run_id"]
    query = f"run_id={run}&metric_key=loss&max_results=2000"
    with urllib.request.urlopen(f"{root}/api/2.0/mlflow/metrics/get-history?{query}", timeout=10) as found:
        metrics = sorted(json.load(found)["metrics"], key=lambda metric: int(metric.get("step", 0)))
    return [metric["value"] for metric in metrics]


def check_line(cli: Cli, answer: dict[str, Any]) -> None:
    """Weight 3 and bias 2 within 0.1: at the endpoint, for x it has not seen, and in the Keras file itself."""
    at_zero, at_one, far = answers(answer["endpoint"], [0, 1, -10])
    assert (at_one - at_zero, at_zero) == pytest.approx((3, 2), abs=0.1)
    assert far == pytest.approx(-28, abs=1)
    home = Home(cli.home)
    trial = outputs_of(home, home.run_folder(answer["run"]).read(), "train")[0]
    model = keras.saving.load_model(home.store.fetch(Trained.model_validate(trial).keras))
    weight, bias = (float(array.ravel()[0]) for array in model.get_weights())
    assert (weight, bias) == pytest.approx((3, 2), abs=0.1)


@pytest.mark.parametrize(
    "epochs", [pytest.param(100, id="100"), pytest.param(1000, id="1000", marks=pytest.mark.slow)]
)
def test_the_line_is_found(shared: Cli, epochs: int) -> None:
    alone = ("--set", "gate.improve_on_champion=null")  # the other number of epochs, in the same home
    answer = shared.ok("submit", "linear-regression", "--set", f"training.epochs={epochs}", *alone)
    assert answer["metrics"]["test_rmse"] < 0.6
    check_line(shared, answer)


def test_the_digits_are_learned_by_the_equations_alone(shared: Cli) -> None:
    answer = shared.ok("submit", "digits-numpy", "--set", "training.epochs=8")
    assert (answer["status"], answer["runtime"]) == ("done", "onnx")
    assert answer["metrics"]["test_accuracy"] > 0.93
    assert answer["parity"] < 1e-5
    found = losses(answer)
    assert len(found) == 8 and found[-1] < found[0] / 5


def test_a_series_walks_through_an_lstm_of_equations(shared: Cli, tmp_path: Path) -> None:
    """Which half of the series rises: rows of shape (steps, features) from the file to the endpoint."""
    random = np.random.default_rng(0)
    late = random.integers(0, 2, 300)
    series = random.normal(0, 0.3, (300, 10, 2)).cumsum(axis=1)
    series[:, 5:, 0] += 3.0 * late[:, np.newaxis]
    series[:, :5, 0] += 3.0 * (1 - late[:, np.newaxis])
    np.savez(tmp_path / "series.npz", series=series.astype(np.float32), late=late)
    experiment = {
        "name": "series-numpy",
        "data": {"source": "./series.npz", "target": "late"},
        "model": {"family": "lstm", "units": [8]},
        "training": {
            "backend": "numpy",
            "epochs": 8,
            "batch_size": 16,
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        },
        "gate": {"metric": "test_accuracy", "minimum": 0.9},
    }
    (tmp_path / "experiment.yaml").write_text(json.dumps(experiment))
    answer = shared.ok("submit", str(tmp_path / "experiment.yaml"))
    assert answer["runtime"] == "onnx"
    assert [told["label"] for told in answers(answer["endpoint"], series[:4].tolist())] == late[:4].tolist()
