"""Bundles of hand-made networks: quick ones, and ones that are wrong, slow or deadly in a chosen way."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.inference.predictor import sample_rows

CLASSES = 4
PROOF = Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1)
DEADLY = 13.0  # a value of x that makes the `deadly` network ask for more memory than there is
Made = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def make_bundle(folder: Path, name: str, kind: str = "right") -> Path:
    """Write a bundle with two numbers x and y and four classes.

    Args:
        folder: where it goes.
        name: the endpoint's name.
        kind: right (class by x), wrong (always the last class), slow (some hundred milliseconds a row) or deadly.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    model = folder.parent / f"{folder.name}.onnx"
    columns: Columns = {"x": np.linspace(-2, 2, 40), "y": np.linspace(0, 1, 40)}
    schema = Schema(
        inputs=tuple(Field(name=one, kind="numeric", dtype="float64") for one in ("x", "y")),
        target=Target(names=("label",), task="classification", classes=tuple(range(CLASSES))),
    )
    _write(model, kind)
    write_bundle(
        folder,
        name=name,
        run=f"{name}-run",
        trial="trial-0",
        schema=schema,
        transforms=Transforms.fit(schema, columns),
        model=model,
        runtime="onnx",
        parity=PROOF,
        sample=sample_rows(columns),
        versions={},
    )
    return folder


def _write(path: Path, kind: str) -> None:
    nodes, constants = _network(wrong=kind == "wrong")
    extra: Made = {"slow": _slow, "deadly": _deadly}.get(kind, _nothing)()
    graph = helper.make_graph(
        [*nodes, *extra[0], helper.make_node("Add", ["logits", "zero"], ["sum"]), _softmax()],
        "network",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", CLASSES])],
        [*constants, *extra[1]],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _network(wrong: bool) -> Made:
    """A class for each quarter of x's range; of a wrong one always the last."""
    slopes = np.zeros((2, CLASSES), np.float32)
    slopes[0] = [0, 0, 0, 0] if wrong else [-3, -1, 1, 3]
    offsets = np.array([0, 0, 0, 9] if wrong else [-2, 0, 0, -2], np.float32)
    constants = [numpy_helper.from_array(slopes, "slopes"), numpy_helper.from_array(offsets, "offsets")]
    nodes = [
        helper.make_node("MatMul", ["features", "slopes"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offsets"], ["logits"]),
    ]
    return nodes, constants


def _softmax() -> onnx.NodeProto:
    return helper.make_node("Softmax", ["sum"], ["output"])


def _nothing() -> Made:
    return [], [numpy_helper.from_array(np.float32(0), "zero")]


def _slow(rounds: int = 200) -> Made:
    """A chain of matrix products as large as a second has, whose result is multiplied by zero."""
    size = 400
    matrix = numpy_helper.from_array(np.full((size, size), 1 / size, np.float32), "matrix")
    back = numpy_helper.from_array(np.array([size, size], np.int64), "square")
    ones = numpy_helper.from_array(np.zeros((2, size * size), np.float32), "wide")
    nodes = [
        helper.make_node("Slice", ["features", "from", "to"], ["first"]),
        helper.make_node("MatMul", ["first", "wide"], ["flat"]),
        helper.make_node("Reshape", ["flat", "square"], ["product-0"]),
    ]
    nodes += [
        helper.make_node("MatMul", [f"product-{index}", "matrix"], [f"product-{index + 1}"])
        for index in range(rounds)
    ]
    nodes.append(helper.make_node("ReduceMax", [f"product-{rounds}"], ["zero"], keepdims=0))
    edges = [
        numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("from", 0), ("to", 1))
    ]
    return nodes, [matrix, back, ones, *edges]


def _deadly() -> Made:
    """Where x is large an array of gigabytes is filled, else one of a few bytes."""
    constants = [
        numpy_helper.from_array(np.float32(4), "large"),
        numpy_helper.from_array(np.float32(0), "nought"),
        numpy_helper.from_array(np.array([1 << 32], np.int64), "giga"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.float32(1), "full"),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["features"], ["highest"], keepdims=0),
        helper.make_node("Greater", ["highest", "large"], ["is-large"]),
        helper.make_node("Where", ["is-large", "giga", "one"], ["length"]),
        helper.make_node("Expand", ["full", "length"], ["filled"]),
        helper.make_node("ReduceMax", ["filled"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nought"], ["zero"]),
    ]
    return nodes, constants
