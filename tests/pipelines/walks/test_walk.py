"""The whole walk, from one experiment file to a live endpoint, with the real parts."""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import psutil
import pytest

from tests.conftest import Cli
from tidegate.models.data.columns import load_columns
from tidegate.pipelines.state.finished_steps import find_outputs
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained
from tidegate.serving.monitoring.drift import MIN_ROWS

QUICK = ("--set", "training.epochs=8")


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body = answer.read()
    return json.loads(body) if body[:1] in b"{[" else body.decode()


def outputs_of(cli: Cli, run: str, step: str) -> dict[str, Any]:
    home = Home(cli.home)
    key = next(known.key for known in home.run_folder(run).read().steps if known.step == step)
    outputs = find_outputs(home.store, key)
    assert outputs is not None
    return outputs


def test_a_submit_answers_with_everything(digits: dict[str, Any]) -> None:
    assert digits["status"] == "done"
    assert digits["metrics"]["test_accuracy"] > 0.9
    assert digits["runtime"] == "onnx"
    assert digits["parity"] < 1e-5
    assert digits["release"] == 1
    assert [step["step"] for step in digits["steps"]] == [
        "prepare", "train", "select", "package", "deploy", "verify", "promote",
    ]  # fmt: skip
    assert digits["synced"] is True


def test_a_live_run_tells_whether_its_data_has_moved(shared: Cli, digits: dict[str, Any]) -> None:
    shown = shared.ok("show", digits["run"])["drift"]
    assert set(shown) == {"rows", "needed", "status", "features", "predictions", "unseen"}
    assert shown["needed"] == MIN_ROWS
    assert shared.ok("endpoints")[0]["drift"]["status"] == shown["status"]


def test_the_curl_line_answers(digits: dict[str, Any]) -> None:
    done = subprocess.run(digits["curl"], shell=True, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["model"], answer["release"]) == ("digits", 1)
    assert set(answer["predictions"][0]) == {"label", "probability", "probabilities"}
    assert sum(answer["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_the_endpoint_has_its_pages(digits: dict[str, Any]) -> None:
    url = digits["endpoint"]
    assert get(f"{url}/contract")["classes"] == list(range(10))
    assert get(f"{url}/livez")
    assert get(f"{url}/readyz")
    assert "digits" in get(f"{url}/metrics")
    assert "/predict" in get(f"{url}/openapi.json")["paths"]
    assert "swagger" in get(f"{url}/").lower()


def test_the_same_submit_again_is_the_same_run_and_quick(shared: Cli, digits: dict[str, Any]) -> None:
    again = shared.ok("submit", "digits", *QUICK)
    assert {step["status"] for step in again["steps"]} == {"cached"}
    for key in ("run", "metrics", "mlflow_url", "endpoint", "release", "curl", "champion"):
        assert again[key] == digits[key], key
    assert [run["run"] for run in shared.ok("runs")].count(digits["run"]) == 1


def test_every_held_out_row_is_answered_as_the_trained_model_does(
    shared: Cli, digits: dict[str, Any]
) -> None:
    store = Home(shared.home).store
    prepared = Prepared.model_validate(outputs_of(shared, digits["run"], "prepare"))
    trial = Trained.model_validate(outputs_of(shared, digits["run"], "train"))
    columns = load_columns(store.fetch(prepared.test))
    rows = json.dumps({"rows": columns["image"].tolist()})
    answers = shared.ok("predict", "digits", stdin=rows)["predictions"]
    model = keras.saving.load_model(store.fetch(trial.keras))  # the file itself, as anyone can open it
    features = columns["image"].astype(np.float32)[..., np.newaxis] / 16
    expected = np.asarray(model({"image": features}, training=False))
    served = np.array([answer["probabilities"] for answer in answers])
    tolerance = outputs_of(shared, digits["run"], "package")["tolerance"]
    assert np.abs(served - expected).max() <= tolerance
    assert len(rows) > 0
    assert trial.onnx is not None
    assert onnxruntime.InferenceSession(store.fetch(trial.onnx)).get_inputs()[0].name == "image"


def test_no_tensorflow_is_mapped_into_the_process_that_serves_onnx(digits: dict[str, Any]) -> None:
    port = int(digits["endpoint"].rpartition(":")[2])
    listening = [c for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN"]
    maps = Path(f"/proc/{listening[0].pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "tensorflow" not in maps


def test_the_bento_is_in_bentomls_store(shared: Cli, digits: dict[str, Any]) -> None:
    name, _, version = digits["bento"].partition(":")
    bento = Path(shared.environment()["BENTOML_HOME"]) / "bentos" / name / version
    requirements = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "onnxruntime==" in requirements
    assert "tensorflow" not in requirements


def test_a_refused_candidate_leaves_the_endpoint_alone(shared: Cli, digits: dict[str, Any]) -> None:
    ran = shared("submit", "digits", *QUICK, "--set", "gate.minimum=0.9999", "--json")
    assert ran.code == 3
    refused = ran.json
    assert refused["status"] == "refused"
    assert "below the minimum 0.9999" in refused["reason"]
    assert refused["release"] is None
    assert [step["status"] for step in refused["steps"][:2]] == [
        "cached",
        "cached",
    ]  # same data, same training
    live = {endpoint["name"]: endpoint["release"] for endpoint in shared.ok("endpoints")}
    assert live["digits"] == digits["release"]
    again = shared("submit", "digits", *QUICK, "--set", "gate.minimum=0.9999", "--json")
    assert (again.code, again.json["run"]) == (3, refused["run"])
    told = [one for one in shared.ok("history", "digits")["entries"] if one["run"] == refused["run"]]
    assert [one["kind"] for one in told] == ["refused", "refused"]
    assert "below the minimum 0.9999" in told[0]["facts"]["why"]


def test_a_worse_candidate_is_refused_on_the_champions_rows(shared: Cli, digits: dict[str, Any]) -> None:
    ran = shared("submit", "digits", "--set", "training.epochs=1", "--set", "gate.minimum=0.1", "--json")
    assert ran.code == 3
    assert " of the champion on " in ran.json["reason"] and "expected not worse" in ran.json["reason"]
    assert digits["metrics"]["test_accuracy"] > ran.json["metrics"]["test_accuracy"]


@pytest.mark.parametrize(
    ("name", "metric", "bound"),
    [("wine", "test_accuracy", 0.9), pytest.param("diabetes", "test_r2", 0.3, marks=pytest.mark.slow)],
)
def test_real_tables_reach_what_they_should(shared: Cli, name: str, metric: str, bound: float) -> None:
    answer = shared.ok("submit", name)
    assert answer["metrics"][metric] >= bound
    assert answer["parity"] <= outputs_of(shared, answer["run"], "package")["tolerance"]


def test_a_table_in_a_file_is_told_from_start_to_plan(shared: Cli, tmp_path: Path) -> None:
    rows = "".join(f"{row},{row % 2}\n" for row in range(40))
    (tmp_path / "rows.csv").write_text(f"x,y\n{rows}40,\n41,\n")
    (tmp_path / "experiment.yaml").write_text(
        "{name: table, data: {source: ./rows.csv, target: y}, model: {family: linear}, training: {epochs: 1}, "
        "gate: none}"
    )
    ran = shared("submit", str(tmp_path))
    assert ran.code == 0, ran.stderr
    assert "2 rows without a target were dropped" in ran.stderr
    trial = [line.split(maxsplit=1)[1] for line in ran.stderr.splitlines() if line.startswith("train-0-")]
    assert trial[0] == "starting: importing TensorFlow"
    assert trial[1].startswith("epoch 1/1 ")
    planned = shared.ok("plan", str(tmp_path))
    assert (planned["format"], planned["changes"]) == ("csv", [])
    assert "data is read as csv" in shared("plan", str(tmp_path)).stdout
    assert shared.ok("plan", str(tmp_path), "--set", "data.format=csv")["changes"] == []
    changed = shared.ok("plan", str(tmp_path), "--set", "data.format=jsonl")["changes"]
    assert changed == [{"key": "data.format", "live": "csv", "new": "jsonl"}]


def test_more_trials_later_only_run_the_new_ones(shared: Cli) -> None:
    space = ("--set", "training.epochs=3", "--set", "gate.minimum=0.2", "--set", "search.pruning=null")
    space += ("--set", "serving.endpoint=more-trials")  # no champion of another test's to beat
    first = shared.ok("submit", "digits-search", *space, "--set", "search.trials=2")
    more = shared.ok("submit", "digits-search", *space, "--set", "search.trials=3")
    assert more["run"] != first["run"]
    assert [trial["status"] for trial in more["trials"]] == ["cached", "cached", "done"]
    assert [trial["params"] for trial in more["trials"][:2]] == [trial["params"] for trial in first["trials"]]
    assert len({trial["mlflow_run_id"] for trial in [*first["trials"], *more["trials"]]}) == 5
    # Validation rows choose, so that the winner's figure on the test rows is an honest one.
    names = ("validation_accuracy", "validation_loss")
    accuracy, loss = ([trial["metrics"][name] for trial in more["trials"]] for name in names)
    best = more["trials"][max(range(3), key=lambda place: (accuracy[place], -loss[place]))]
    assert more["champion"] == best["id"]


def test_compare_tells_what_differs(shared: Cli, digits: dict[str, Any]) -> None:
    other = shared("submit", "digits", *QUICK, "--set", "gate.minimum=0.9999", "--json").json
    compared = shared.ok("compare", digits["run"], other["run"])
    assert "/#/compare-runs?runs=" in compared["url"]
    assert all(run["metrics"] and run["params"] for run in compared["runs"])
    assert "gate" in shared("compare", digits["run"], other["run"]).stdout


def test_a_model_that_has_no_onnx_form_is_served_by_tensorflow(shared: Cli, tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(OWN_LAYER)
    (tmp_path / "experiment.yaml").write_text(
        json.dumps(
            {
                "name": "own-layer",
                "data": {"dataset": "wine"},
                "model": {"file": "./my_model.py", "width": 8},
                "training": {"epochs": 2, "batch_size": 16},
                "gate": {"metric": "test_accuracy", "minimum": 0.0},
            }
        )
    )
    answer = shared.ok("submit", str(tmp_path / "experiment.yaml"))
    assert answer["runtime"] == "tensorflow"
    assert "ONNX" in answer["runtime_reason"]
    done = subprocess.run(answer["curl"], shell=True, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["predictions"][0]["label"] in (0, 1, 2)


OWN_LAYER = """
import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("own")
class Scale(keras.layers.Layer):
    def call(self, x):
        return tf.raw_ops.Betainc(a=tf.ones_like(x), b=tf.ones_like(x), x=tf.sigmoid(x))


def build(inputs, outputs, *, width):
    x = keras.layers.Dense(width)(inputs["features"])
    return keras.Model(inputs, outputs.layer(Scale()(x)))
"""


def test_the_inline_executor_walks_all_the_way_in_one_process(shared: Cli) -> None:
    quick = ("--set", "training.epochs=2", "--set", "gate={metric: test_accuracy, improve_on_champion: null}")
    answer = shared.ok("submit", "wine", *quick, "--set", "serving.endpoint=inline", "--executor", "inline")
    assert answer["status"] == "done"
    assert json.loads(subprocess.check_output(answer["curl"], shell=True))["model"] == "inline"


def test_gc_removes_only_what_nothing_needs(shared: Cli, digits: dict[str, Any]) -> None:
    home = Home(shared.home)
    home.store.write(
        "steps/orphan.json", json.dumps({"step": "prepare", "run": "gone", "outputs": {}}).encode(), None
    )
    removed = shared.ok("gc")["removed"]
    assert "steps/orphan.json" in removed
    assert {step["status"] for step in shared.ok("submit", "digits", *QUICK)["steps"]} == {"cached"}
    assert digits["bento"] not in removed
