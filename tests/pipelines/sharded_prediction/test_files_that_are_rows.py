"""Images in shards: each file is a row, in the order of the names, as in one process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving.conftest import package, write_onnx
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.pipelines.commands.prediction.predict import predict
from tidegate.pipelines.sharded_prediction import units
from tidegate.pipelines.sharded_prediction.document import Manifest
from tidegate.pipelines.state.home import Home


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A bundle of 1,000 x 1,000 pixels, of which a chunk has no more than one."""
    columns = {"image": np.random.default_rng(1).integers(0, 255, (3, 400, 500)).astype(np.uint8)}
    field = Field(name="image", kind="image", dtype="uint8", shape=(400, 500))
    schema = Schema(inputs=(field,), target=Target(names=("y",), task="classification", classes=(0, 1, 2)))

    def write(path: Path, name: str, spec: Any) -> None:
        write_onnx(path, name, spec.shape, 3, "Softmax")

    return package(tmp_path, schema, columns, write, name="shots")


def test_images(tmp_path: Path, images: Path) -> None:
    random, folder = np.random.default_rng(2), tmp_path / "shots"
    (folder / "deep").mkdir(parents=True)
    for name in ("b", "a", "d", "deep/c", "e", "f", "g"):
        Image.fromarray(random.integers(0, 255, (400, 500)).astype(np.uint8)).save(folder / f"{name}.png")
    home = Home(tmp_path / "home")
    predict(home, str(images), [str(folder)], str(tmp_path / "one.jsonl"), None, True)
    answer = predict(home, str(images), [str(folder)], str(tmp_path / "out"), None, False, shards=3).data
    assert answer["rows"] == 7
    parts = "".join(path.read_text() for path in sorted((tmp_path / "out").glob("part-*")))
    assert parts == (tmp_path / "one.jsonl").read_text()
    names = [json.loads(line)["file"] for line in parts.splitlines()]
    assert names == [str(folder / f"{name}.png") for name in ("a", "b", "d", "deep/c", "e", "f", "g")]
    manifest = Manifest.model_validate_json((tmp_path / "out" / "_manifest.json").read_bytes())
    assert [one.file for part in manifest.parts for one in part.ranges] == names
    assert max(part.rows for part in manifest.parts) <= 4
    assert units.units_of(manifest.plan.inputs, [{"kind": "image", "name": "image"}], 2)[0].are_rows
