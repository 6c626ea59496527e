"""The served model predicts what the reference says, from raw rows, in a process of its own."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.models.data.columns import save_columns
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.manifest import bundle_digest
from tidegate.serving.bundle.measurements import Batching
from tidegate.serving.errors import ModelLoadError, ParityError
from tidegate.serving.inference.parity import check_parity
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.runtimes import available_cpus, load_model

KERAS = """
import sys
from pathlib import Path
from typing import Any
import keras, numpy as np
sys.path.insert(0, sys.argv[1])
import my_model
folder = Path(sys.argv[1])
inputs = keras.Input((2,), name="x")
outputs = keras.layers.Dense(3, activation="softmax")(my_model.Twice()(inputs))
model = keras.Model(inputs, outputs)
model.save(folder / "model.keras")
rows = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
np.save(folder / "rows.npy", rows)
np.save(folder / "reference.npy", model(rows).numpy())
"""

LAYER = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def _files(bundle: Path, folder: Path, reference: NDArray[np.float32]) -> dict[str, Any]:
    """What `check_parity` reads, for a bundle of images."""
    opened = open_bundle(bundle)
    images = np.random.default_rng(1).integers(0, 17, (40, 8, 8)).astype(np.uint8)
    save_columns(folder / "columns.npz", {"image": images})
    (folder / "schema.json").write_text(opened.contract.schema_.model_dump_json())
    (folder / "transforms.json").write_text(json.dumps(opened.transforms.to_dict()))
    np.save(folder / "reference.npy", reference)
    return {
        "schema": folder / "schema.json",
        "transforms": folder / "transforms.json",
        "columns": folder / "columns.npz",
        "reference": folder / "reference.npy",
    }


def _predictions(bundle: Path) -> NDArray[np.float32]:
    images = np.random.default_rng(1).integers(0, 17, (40, 8, 8)).astype(np.uint8)
    return Predictor.of(bundle).predict_columns({"image": images})


def test_equal_predictions_pass_and_others_do_not(images: Path, tmp_path: Path) -> None:
    model = images / "model.onnx"
    reference = _predictions(images)
    same = check_parity(model=model, runtime="onnx", **_files(images, tmp_path, reference))
    assert same.passed
    assert (same.rows, same.tolerance) == (40, 1e-4)
    assert same.max_abs_difference < 1e-6
    other = check_parity(
        model=model, runtime="onnx", **_files(images, tmp_path, reference + np.float32(0.01))
    )
    assert not other.passed
    assert other.max_abs_difference == pytest.approx(0.01, abs=1e-4)


def test_the_same_process_measures_batches(images: Path, tmp_path: Path) -> None:
    found = tmp_path / "batching.json"
    files = _files(images, tmp_path, _predictions(images))
    check_parity(model=images / "model.onnx", runtime="onnx", **files, batching=found)
    batching = Batching.model_validate_json(found.read_bytes())
    # So quick a model answers before another request could wait for it, unless the machine is busy with others.
    assert batching.rows == 1 or batching.speeds[batching.rows] > batching.speeds[1]
    assert list(batching.speeds) == [1, 2, 4, 8, 16, 32]
    manifest = open_bundle(images).manifest
    assert manifest.batching is None
    assert bundle_digest(manifest.model_copy(update={"batching": batching})) == bundle_digest(manifest)


def test_what_cannot_be_compared_says_why(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"answered \(40, 10\), the trained one \(40, 3\)"):
        check_parity(
            model=images / "model.onnx",
            runtime="onnx",
            **_files(images, tmp_path, np.zeros((40, 3), np.float32)),
        )
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ParityError, match=r"broken.onnx cannot be served by onnx"):
        check_parity(model=broken, runtime="onnx", **_files(images, tmp_path, _predictions(images)))


def test_the_tensorflow_runtime_loads_the_experiments_own_layers(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "my_model.py").write_text(LAYER)
    (tmp_path / "make.py").write_text(KERAS)
    check = (
        "import sys, numpy as np; from pathlib import Path; from tidegate.serving.runtimes import load_model\n"
        "f = Path(sys.argv[1]); run = load_model('tensorflow', f / 'model.keras', code=f / 'my_model.py')\n"
        "print(np.abs(run({'x': np.load(f / 'rows.npy')}) - np.load(f / 'reference.npy')).max() < 1e-6)"
    )
    made = run_python(str(tmp_path / "make.py"), str(tmp_path))
    assert made.returncode == 0, made.stderr
    (tmp_path / "served").mkdir()
    for name in ("my_model.py", "model.keras", "rows.npy", "reference.npy"):
        (tmp_path / name).rename(tmp_path / "served" / name)
    served = run_python("-c", check, str(tmp_path / "served"))
    assert served.stdout.strip().endswith("True"), served.stderr
    assert not (tmp_path / "served" / "__pycache__").exists()


def test_one_sigmoid_becomes_two_probabilities(mixed: Path) -> None:
    pair = Target(names=("y",), task="classification", classes=(False, True))
    assert as_answers(pair, np.array([[0.25]], np.float32)).tolist() == [[0.75, 0.25]]
    answer: Any
    (answer,) = Predictor.of(mixed).predict_rows([{"age": 31, "rooms": 2, "city": "Oslo"}])
    assert answer["label"] in ("no", "yes")
    assert sum(answer["probabilities"]) == pytest.approx(1)


def test_batches_predict_what_single_rows_do(images: Path) -> None:
    predictor = Predictor.of(images)
    images_ = np.random.default_rng(3).integers(0, 17, (65, 8, 8)).astype(np.uint8)
    together = predictor.predict_columns({"image": images_})
    alone = np.concatenate([predictor.predict_columns({"image": image[None]}) for image in images_])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_an_unknown_runtime_is_an_error_and_a_known_one_uses_no_more_than_it_may() -> None:
    with pytest.raises(ModelLoadError, match="expected one of onnx, tensorflow"):
        load_model("jax", Path("m"))
    assert 1 <= available_cpus() <= 1024
