"""Rows unlike the others: from a table without a target to an endpoint that answers a score and a verdict."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Cli
from tests.pipelines.walks.asking import asked

EXPERIMENT = """
name: machine
data:
  source: machine.csv
  target: null
  anomaly: {label: broken, alarms: 0.05}
  split: {validation: 0.2, test: 0.3}
model: {family: autoencoder, hidden: [8], code: 2, activation: tanh}
training: {epochs: 60, batch_size: 32, optimizer: {name: adam, learning_rate: 0.01}}
gate: [{metric: test_auc, minimum: 0.9}, {metric: test_alarms, maximum: 0.2}]
"""


OWN = """
import keras

def build(inputs, outputs):
    x = keras.layers.Dense(8, activation="tanh")(inputs["features"])
    return keras.Model(inputs, outputs.layer(keras.layers.Dense(2)(x)))
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sensors of one load; of a broken machine one of them does not follow it, though none is out of its range."""
    folder, random = tmp_path_factory.mktemp("machine"), np.random.default_rng(2)
    load = random.uniform(-1, 1, 600)
    rows = load[:, None] * (1, -2, 3, 0.5) + random.normal(0, 0.03, (600, 4))
    broken = np.arange(600) % 20 == 0
    rows[broken, 2] *= -1
    with (folder / "machine.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["a", "b", "c", "d", "broken"])
        table.writerows([*map("{:.4f}".format, row), int(odd)] for row, odd in zip(rows, broken, strict=True))
    path = folder / "machine.yaml"
    path.write_text(EXPERIMENT)
    return path


def test_anomalies_go_the_whole_way(cli: Cli, machine: Path) -> None:
    answer = cli.ok("submit", str(machine))
    assert answer["status"] == "done" and answer["runtime"] == "onnx"
    assert answer["metrics"]["test_auc"] > 0.9 and answer["metrics"]["validation_alarms"] <= 0.05
    url = answer["endpoint"]
    contract = asked(f"{url}/contract")
    limit = contract["threshold"]
    assert (
        contract["task"] == "anomaly"
        and limit > 0
        and "broken" not in {one["name"] for one in contract["inputs"]}
    )
    rows = [{"a": 0.8, "b": -1.6, "c": sign * 2.4, "d": 0.4} for sign in (1, -1)]
    found = asked(f"{url}/predict", {"rows": rows})["predictions"]
    assert [one["anomaly"] for one in found] == [False, True]
    assert found[0]["score"] <= limit < found[1]["score"]
    offline = cli.ok("predict", "machine", "--offline", stdin=json.dumps(rows))["predictions"]
    assert [one["anomaly"] for one in offline] == [False, True]
    prediction = json.dumps(asked(f"{url}/openapi.json"))
    assert '"anomaly": {"type": "boolean"}' in prediction
    served = asked(f"{url}/v1/models/machine:predict", {"instances": rows})["predictions"]
    assert [one["anomaly"] for one in served] == [False, True]
    np.testing.assert_allclose(
        [one["score"][0] for one in served], [one["score"] for one in found], rtol=1e-6
    )
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [2], "data": [row[name] for row in rows]}
        for name in "abcd"
    ]
    score, verdict = asked(f"{url}/v2/models/machine/infer", {"inputs": inputs})["outputs"]
    assert (score["name"], score["shape"]) == ("score", [2, 1]) and verdict["data"] == [False, True]
    output = machine.with_name("out.csv")
    cli.ok("predict", "machine", "--input", str(machine.with_name("machine.csv")), "--output", str(output))
    with output.open() as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == ["row", "score", "anomaly"] and len(table) == 600
    own = machine.with_name("own.py")
    own.write_text(OWN)
    ran = cli("submit", str(machine), "--set", f"model={{file: {own}}}", "--json")
    assert ran.code in (0, 3), ran.stderr
    assert [told.split()[0] for told in ran.json["compared"]] == ["test_auc", "test_alarms"]
    assert ran.json["metrics"]["test_auc"] > 0.9


def test_what_it_has_not_is_refused_before_a_step_runs(cli: Cli, machine: Path) -> None:
    ran = cli("plan", str(machine), "--set", "data.split.validation=0")
    assert ran.code == 2 and "expected validation rows, on which the threshold is chosen" in ran.stderr
    ran = cli("plan", str(machine), "--set", "data.target=broken")
    assert ran.code == 2 and "target is broken, and anomaly is stated" in ran.stderr
    ran = cli("plan", str(machine), "--set", "data.inputs=[a, broken]")
    assert ran.code == 2 and "anomaly.label is broken, and inputs names it" in ran.stderr
    ran = cli(
        "plan", str(machine), "--set", "model={family: cnn}", "--set", "data.forecast={past: 3, horizon: 1}"
    )
    assert ran.code == 2 and "forecast is stated" in ran.stderr
    ran = cli("plan", str(machine), "--set", "data.anomaly.label=null")
    assert (
        ran.code == 2 and "test_auc is of known anomalies, and data.anomaly.label is not stated" in ran.stderr
    )
    ran = cli("plan", str(machine), "--set", "gate={metric: validation_f1}")
    assert ran.code == 2 and "left out of the validation rows; gate test_f1" in ran.stderr
    ran = cli("plan", str(machine), "--set", "training.metrics=[{name: my.thing:metric}]")
    assert ran.code == 2 and "training.metrics" in ran.stderr
    ran = cli("plan", str(machine), "--set", "serving.explain=true")
    assert ran.code == 2 and "this model scores anomalies" in ran.stderr
