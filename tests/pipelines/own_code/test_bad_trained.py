"""What is wrong with a trained model, its answers or its weights, in one table; each case before any step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.models.user_code.model_source import user_error
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.model_files import model_files
from tidegate.pipelines.state.home import Home

TRAINED = {"trained": "model.onnx"}


def found(folder: Path, model: dict[str, Any], **more: Any) -> Any:
    document = {"name": "own", "data": {"source": "rows.csv", "target": "y"}, "model": model} | more
    return model_files(validate(document, "here").resolved(folder), Home(folder / "home"))


@pytest.mark.parametrize(
    ("model", "more", "sentence"),
    [
        (TRAINED | {"family": "mlp"}, {}, "family is for a model that is trained here"),
        (TRAINED | {"from": "run-1"}, {}, "from is for a model that is trained here"),
        (TRAINED | {"hidden": [8]}, {}, "hidden is for a model that is trained here"),
        (TRAINED, {"training": {"epochs": 3}}, "training has epochs, and model.trained is trained already"),
        (TRAINED, {"search": {"trials": 2, "space": {"training.batch_size": [8]}}}, "search is for models"),
        (TRAINED, {"resources": {"gpus": 1}}, "resources.gpus and nodes are for training"),
        (TRAINED, {"serving": {"explain": True}}, "serving.explain is for models that are trained here"),
        ({"family": "mlp", "answers": "a.npy"}, {}, "answers is for a trained model"),
        ({"family": "mlp", "classes": ["a", "b"]}, {}, "classes is for a trained model"),
        ({"family": "mlp", "weights": "w.h5"}, {}, "weights is for a build"),
        ({}, {}, "or trained .* received none of them"),
        ({"trained": "lost.onnx"}, {}, "model.trained: .*lost.onnx does not exist"),
        ({"trained": "old.h5"}, {}, "old.h5 may hold code, .* load it where you trust it"),
        ({"trained": "forest.pkl"}, {}, "forest.pkl may hold code, .* skl2onnx"),
        ({"trained": "net.pt"}, {}, "net.pt may hold code, .* torch.onnx.export"),
        ({"trained": "notes.txt"}, {}, "notes.txt is in none of these formats"),
        ({"trained": "folder"}, {}, "folder is in none of these formats"),
        (TRAINED | {"answers": "lost.npy"}, {}, "model.answers: .*lost.npy is no file"),
        ({"file": "net.py", "weights": "lost.h5"}, {}, "model.weights: .*lost.h5 is no file"),
        ({"family": "mlp", "from": "lost.keras"}, {}, "model.from: .*lost.keras does not exist"),
        ({"family": "mlp", "from": "lost.weights.h5"}, {}, "model.from: .*lost.weights.h5 is no file"),
        ({"trained": "mlflow"}, {}, r"holds MLmodel, model.pkl; expected data/model.keras, model.onnx"),
    ],
)
def test_it_is_told_before_any_step(
    tmp_path: Path, model: dict[str, Any], more: dict[str, Any], sentence: str
) -> None:
    for name in ("model.onnx", "old.h5", "forest.pkl", "net.pt", "notes.txt", "net.py", "rows.csv"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "mlflow").mkdir()
    for name in ("MLmodel", "model.pkl"):
        (tmp_path / "mlflow" / name).touch()
    with pytest.raises(ExperimentError, match=sentence):
        found(tmp_path, model, **more)


def test_an_mlflow_folder_gives_the_best_of_its_models_and_its_contract(tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    (folder / "data").mkdir(parents=True)
    for name in ("MLmodel", "model.onnx", "tidegate.json", "data/model.keras"):
        (folder / name).write_text(name)
    trained = found(tmp_path, {"trained": "mlflow"}).trained
    assert trained.format == "keras" and trained.contract is not None
    assert Path(trained.model.path).read_text() == "data/model.keras"
    (folder / "data" / "model.keras").unlink()
    assert found(tmp_path, {"trained": "mlflow"}).trained.format == "onnx"


def test_a_saved_model_is_one_file_with_the_same_digest_for_the_same_content(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name / "variables").mkdir(parents=True)
        (tmp_path / name / "saved_model.pb").write_text("graph")
        (tmp_path / name / "variables" / "variables.index").write_text("index")
        trained = found(tmp_path, {"trained": name}).trained
        assert trained.format == "saved_model"
        digests.add(trained.model.ref.digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    "error",
    [ConnectionError("no route"), Exception("URL fetch failure on https://x: None -- [Errno -2]")],
    ids=["connection", "keras"],
)
def test_a_failed_download_says_where_weights_come_from(tmp_path: Path, error: Exception) -> None:
    message = str(user_error(tmp_path / "net.py", error, "build() raised"))
    assert "a step should download nothing: put the weights' file beside the code" in message
    other = str(user_error(tmp_path / "net.py", ValueError("wrong"), "build() raised"))
    assert "should download nothing" not in other
