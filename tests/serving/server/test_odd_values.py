"""Values that are odd and not wrong are answered by their rule; those that are wrong are named, in every dialect."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.serving.conftest import Running, package, write_onnx
from tidegate.models.data.columns import Columns
from tidegate.models.data.sequences import padded
from tidegate.models.preprocessing.schema import Field, Schema, Target

TARGET = Target(names=("kind",), task="classification", classes=("a", "b", "c"))
MEGABYTE = "good bad " * (1_000_000 // 9)


def write_words(path: Path, name: str, spec: Any) -> None:
    """A network that weighs each place's word: ids to vectors, flat, dense, softmax."""
    random = np.random.default_rng(0)
    (length,) = spec.shape
    table = random.normal(size=(spec.vocabulary, 4)).astype(np.float32)
    dense = random.normal(size=(length * 4, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", name], ["vectors"]),
        helper.make_node("Flatten", ["vectors"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info(name, TensorProto.INT32, ["n", length])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(dense, "dense")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Running]) -> Running:
    """An endpoint of texts of four words; one of its training texts has a megabyte."""
    schema = Schema(inputs=(Field(name="note", kind="text", dtype="str", length=4),), target=TARGET)
    columns: Columns = {"note": np.array(["good bad fine", "bad", MEGABYTE, "fine good"], object)}
    return serve(package(tmp_path_factory.mktemp("texts"), schema, columns, write_words))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Running]) -> Running:
    """An endpoint of sequences of at most five steps."""
    schema = Schema(
        inputs=(Field(name="pulse", kind="sequence", dtype="float32", shape=(5,)),), target=TARGET
    )
    columns: Columns = {"pulse": padded([np.arange(1.0, count + 1) for count in (5, 3, 1)], 5)}

    def write(path: Path, name: str, spec: Any) -> None:
        write_onnx(path, name, spec.shape, 3, "Softmax")

    return serve(package(tmp_path_factory.mktemp("series"), schema, columns, write))


@pytest.fixture(scope="module")
def pictures(images: Path, serve: Callable[..., Running]) -> Running:
    return serve(images)


OWN, V1, V2 = "/predict", "/v1/models/digits:predict", "/v2/models/digits/infer"


def ask(server: Running, path: str, body: Any) -> tuple[int, Any]:
    status, _, content = server.ask("POST", path, json.dumps(body).encode())
    return status, json.loads(content)


def chances(server: Running, text: str | None) -> Any:
    status, answer = ask(server, OWN, {"rows": [text]})
    assert status == 200, answer
    return answer["predictions"][0]["probabilities"]


def test_a_text_of_a_megabyte_is_read_as_far_as_the_model_reads(texts: Running) -> None:
    assert chances(texts, MEGABYTE) == chances(texts, "good bad good bad") != chances(texts, "good bad good")
    tensor = {"name": "note", "shape": [1], "datatype": "BYTES", "data": [MEGABYTE]}
    for path, body in ((V1, {"instances": [MEGABYTE]}), (V2, {"inputs": [tensor]})):
        status, answer = ask(texts, path, body)
        assert status == 200
        found = answer["predictions"][0] if path == V1 else answer["outputs"][0]["data"]
        assert found == pytest.approx(chances(texts, "good bad good bad"))


def test_one_word_of_a_megabyte_is_one_that_was_never_seen(texts: Running) -> None:
    assert chances(texts, "x" * 1_000_000) == chances(texts, "unheard")


def test_words_never_seen_count_as_one_that_is_unknown(texts: Running) -> None:
    assert chances(texts, "good zebra") == chances(texts, "good Ωmega") != chances(texts, "good bad")
    assert chances(texts, "\x00\ud83d\ude00 --") == chances(texts, None) == chances(texts, "")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OWN, {"rows": [[1, 2, 3, 4, 5, 6]]}),
        (V1, {"instances": [[1, 2, 3, 4, 5, 6]]}),
        (
            V2,
            {"inputs": [{"name": "pulse", "shape": [1, 6], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]},
        ),
    ],
)
def test_a_sequence_longer_than_the_model_is_refused(series: Running, path: str, body: Any) -> None:
    status, answer = ask(series, path, body)
    assert status == 400
    words = answer["message"] if path == OWN else answer["error"]
    assert "'pulse'" in words and "6]" in words
    if path != V2:
        assert "an array of 1 to 5 steps" in words and "cut one that is longer" in words


def torn() -> bytes:
    """The first half of an image file."""
    whole = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(whole, "png")
    return whole.getvalue()[: whole.tell() // 2]


def test_a_torn_image_file_is_refused(pictures: Running) -> None:
    text = base64.b64encode(torn()).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    for path, body in ((V1, {"instances": [{"b64": text}]}), (V2, {"inputs": [tensor]})):
        status, answer = ask(pictures, path, body)
        assert status == 400 and "image" in answer["error"], answer
