"""The model that the replay logs, read back by MLflow itself."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.infra.conftest import Server, Told
from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow.model import write_model
from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.mlflow.tracking import Tracker

# One process that saves a model, waits until it is logged, and loads it: importing TensorFlow takes long.
ROUND_TRIP = """
import json, sys
import keras, numpy as np
keras.utils.set_random_seed(7)
image, age = keras.Input((2, 2), name="image"), keras.Input((1,), name="age")
merged = keras.layers.Concatenate()([keras.layers.Flatten()(image), age])
model = keras.Model([image, age], keras.layers.Dense(3, "softmax", name="output")(merged))
model.save(sys.argv[1])
print("saved", flush=True)
url, uri = sys.stdin.readline().split()
import mlflow
mlflow.set_tracking_uri(url)
rows = {"image": np.arange(8, dtype="float32").reshape(2, 2, 2), "age": np.ones((2, 1), "float32")}
expected = model.predict(rows, verbose=0)
loaded, generic = mlflow.tensorflow.load_model(uri), mlflow.pyfunc.load_model(uri)
about = mlflow.models.get_model_info(uri)
print(json.dumps({
    "keras": float(abs(loaded.predict(rows, verbose=0) - expected).max()),
    "pyfunc": float(abs(generic.predict(rows) - expected).max()),
    "inputs": about.signature.inputs.to_dict(),
    "flavors": sorted(about.flavors),
    "example": sorted(generic.input_example),
}))
"""


def test_mlflow_loads_what_was_logged(mlflow: Server, told: Callable[[], Told]) -> None:
    run = told()
    run.folder.mkdir(parents=True)
    file = run.folder / "model.keras"
    argv = [sys.executable, "-W", "ignore", "-c", ROUND_TRIP, str(file)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "saved\n"
        answer, _ = other.communicate(f"{mlflow.url} {log_model(mlflow.url, run, file)}\n")
    found = json.loads(answer.splitlines()[-1])
    assert found["keras"] == found["pyfunc"] == 0.0
    assert [(one["name"], one["tensor-spec"]) for one in found["inputs"]] == [
        ("image", {"dtype": "float32", "shape": [-1, 2, 2]}),
        ("age", {"dtype": "float32", "shape": [-1, 1]}),
    ]
    assert found["flavors"] == ["python_function", "tensorflow"]
    assert found["example"] == ["age", "image"]


def log_model(url: str, run: Told, file: Path) -> str:
    """Tell MLflow of the model; its URI."""
    parent = Spool(run.folder)
    parent.write("run", "run", name=run.run, experiment="digits")
    parent.write(
        "model",
        "model",
        ref=run.store.put(file).model_dump(),
        inputs=[
            {"name": "image", "dtype": "float32", "shape": [-1, 2, 2]},
            {"name": "age", "dtype": "float32", "shape": [-1, 1]},
        ],
        outputs=[{"name": "output", "dtype": "float32", "shape": [-1, 3]}],
        input_example={"image": [[[0, 1], [2, 3]]], "age": [[1]]},
        requirements=["keras==3.15.1", "tensorflow-cpu==2.21.0"],
    )
    done = run.follow(url)
    assert done.synced
    assert done.refused == ()
    tracker = Tracker(url)
    run_id = replay.state(run.folder)["run"]["run_id"]
    (model,) = tracker.models(tracker.experiment("digits"), run.run)[run_id]
    return f"models:/{model.model_id}"


def test_the_versions_told_are_those_it_was_trained_with(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    file.write_bytes(b"")
    field = {"name": "x", "dtype": "float32", "shape": [-1, 2]}
    event = {"inputs": [field], "outputs": [field], "requirements": ["keras==9.8.7", "onnx==6.5.4"]}
    write_model(tmp_path / "model", event, file, file, model_id="m", run_id="r", artifact_path="model")
    written = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())["flavors"]
    assert (written["tensorflow"]["keras_version"], written["onnx"]["onnx_version"]) == ("9.8.7", "6.5.4")
