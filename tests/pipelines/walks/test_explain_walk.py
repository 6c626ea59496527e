"""`serving.explain` where ONNX Runtime can not explain: TensorFlow does and the run says why, or a step says no."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Cli
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home

ROWS = "a,b,c,note,y\n" + "".join(
    f"{i / 60},{i * 7 % 60 / 60},{i * 11 % 60 / 60},{'a good one indeed' if i % 2 else 'a bad one indeed'},{i % 2}\n"
    for i in range(60)
)
EXPERIMENT = """
name: explained
data: {source: ./rows.csv, target: y, inputs: INPUTS}
model: {file: ./model.py}
training: {epochs: 2}
gate: {metric: test_accuracy, minimum: 0}
serving: {explain: true}
"""
# The gradient of a slice with strides is one that has no ONNX form here.
SLICED = """
import keras
def build(inputs, outputs):
    x = keras.layers.Dense(6, activation="tanh")(inputs["features"])
    return keras.Model(inputs, outputs.layer(x[:, ::2]))
"""
COUNTED = """
import keras
def build(inputs, outputs):
    x = keras.ops.cast(inputs["note"], "float32")
    return keras.Model(inputs, outputs.layer(keras.layers.Dense(4)(x)))
"""


def experiment(folder: Path, inputs: str, model: str) -> str:
    """An experiment of these inputs and this model; returns its path."""
    for name, content in (
        ("rows.csv", ROWS),
        ("model.py", model),
        ("experiment.yaml", EXPERIMENT.replace("INPUTS", inputs)),
    ):
        (folder / name).write_text(content)
    return str(folder / "experiment.yaml")


@pytest.mark.slow  # a second runtime is proved and starts
def test_tensorflow_explains_what_has_no_onnx_form(cli: Cli, tmp_path: Path) -> None:
    ran = cli("submit", experiment(tmp_path, "[a, b, c]", SLICED), "--json", timeout=900)
    assert ran.code == 0, ran.stderr
    answer = ran.json
    home = Home(cli.home)
    (packaged,) = outputs_of(home, home.run_folder(answer["run"]).read(), "package")
    assert packaged["runtime"] == answer["runtime"] == "tensorflow" and packaged["explained"] < 1e-6
    assert "the model's gradient has no ONNX form" in packaged["reason"]
    assert "StridedSliceGrad" in packaged["reason"]
    body = json.dumps({"rows": [{"a": 0.5, "b": 0.1, "c": 0.9}], "explain": True}).encode()
    with urllib.request.urlopen(f"{answer['endpoint']}/predict", body, timeout=60) as response:
        (told,) = json.load(response)["explanations"]
    assert abs(told["completeness_gap"]) < 1e-5
    assert sum(told["attributions"].values()) == pytest.approx(
        told["prediction"] - told["baseline"], abs=1e-5
    )
    refused = cli("submit", str(tmp_path / "experiment.yaml"), "--set", "serving.runtime=onnx")
    assert refused.code == 1 and "serving.runtime is onnx, but the model's gradient has no" in refused.stderr


def test_a_text_that_can_not_be_explained_is_refused_before_it_is_trained(
    shared: Cli, tmp_path: Path
) -> None:
    ran = shared("submit", experiment(tmp_path, "[{name: note, kind: text}]", COUNTED))
    assert ran.code == 1
    assert "no Embedding layer reads the text 'note'" in ran.stderr and "leave explain out" in ran.stderr
    assert "epoch 1/2" not in ran.stderr + ran.stdout
