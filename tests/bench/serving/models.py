"""The models that are served, as ONNX graphs with random weights, and what serves them needs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Parity

SIDE = 28
# As in the UCI table of letters, whose 16 numbers are whole ones from 0 to 15.
NUMBERS = (
    *("x-box", "y-box", "width", "high", "onpix", "x-bar", "y-bar", "x2bar", "y2bar", "xybar"),
    *("x2ybr", "xy2br", "x-ege", "xegvy", "y-ege", "yegvx"),
)
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Graph:
    """Collects the nodes and weights of a network; its input is called `name`."""

    def __init__(self, name: str = "image") -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.first = self.last = name

    def add(self, kind: str, *more: str, **attributes: Any) -> None:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *more], [name], **attributes))
        self.last = name

    def weight(self, *shape: int) -> str:
        name = f"weight_{len(self.weights)}"
        values = self.random.normal(size=shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]) or 1)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def dense(self, inputs: int, outputs: int) -> None:
        self.add("MatMul", self.weight(inputs, outputs))
        self.add("Add", self.weight(outputs))

    def save(self, path: Path, shape: Sequence[int] = (SIDE, SIDE, 1), classes: int = 10) -> None:
        self.add("Softmax")
        self.nodes[-1].output[0] = "output"
        given = helper.make_tensor_value_info(self.first, TensorProto.FLOAT, ["rows", *shape])
        answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", classes])
        graph = helper.make_graph(self.nodes, "network", [given], [answer], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def mlp(path: Path) -> None:
    """784-128-64-10."""
    graph = Graph()
    graph.add("Flatten", axis=1)
    for inputs, outputs in ((784, 128), (128, 64)):
        graph.dense(inputs, outputs)
        graph.add("Relu")
    graph.dense(64, 10)
    graph.save(path)


def cnn(path: Path) -> None:
    """Two convolutions of 3x3 with 8 and 16 filters, each halved by pooling, then a dense layer."""
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    for channels, filters in ((1, 8), (8, 16)):
        graph.add("Conv", graph.weight(filters, channels, 3, 3), pads=[1, 1, 1, 1])
        graph.add("Relu")
        graph.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Flatten", axis=1)
    graph.dense(16 * 7 * 7, 10)
    graph.save(path)


def small(path: Path) -> None:
    """16-64-32-26."""
    graph = Graph("features")
    for inputs, outputs in ((16, 64), (64, 32)):
        graph.dense(inputs, outputs)
        graph.add("Relu")
    graph.dense(32, len(LETTERS))
    graph.save(path, (len(NUMBERS),), len(LETTERS))


def images(rows: int) -> Columns:
    """Images as Fashion-MNIST has them, `(rows, 28, 28)` uint8, half of the pixels dark."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (rows, SIDE, SIDE)) * random.integers(0, 2, (rows, SIDE, SIDE))
    return {"image": pixels.astype(np.uint8)}


def numbers(rows: int) -> Columns:
    """A column of whole numbers for each of NUMBERS."""
    random = np.random.default_rng(1)
    return {name: random.integers(0, 16, rows) for name in NUMBERS}


IMAGES = Schema(
    inputs=(Field(name="image", kind="image", dtype="uint8", shape=(SIDE, SIDE)),),
    target=Target(names=("label",), task="classification", classes=tuple(range(10))),
)
TABLE = Schema(
    inputs=tuple(Field(name=name, kind="numeric", dtype="int64") for name in NUMBERS),
    target=Target(names=("letter",), task="classification", classes=LETTERS),
)


@dataclass(frozen=True)
class Model:
    """A network, what its rows are, and some rows of raw values."""

    write: Callable[[Path], None]
    schema: Schema
    columns: Callable[[int], Columns]

    @property
    def is_of_images(self) -> bool:
        """Whether a row is an image; else an object of numbers."""
        return self.schema is IMAGES


MODELS = {
    "mlp": Model(mlp, IMAGES, images),
    "cnn": Model(cnn, IMAGES, images),
    "small": Model(small, TABLE, numbers),
}


def rows_in(columns: Columns) -> list[Any]:
    """Rows as a request has them: an image as it is, numbers by name."""
    if len(columns) == 1:
        return list(next(iter(columns.values())).tolist())
    listed = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*listed, strict=True)]


def make_bundle(name: str, folder: Path) -> Path:
    """Write the bundle of one of `MODELS`, return its folder.

    Beside it lie the bare graph, and NAME.json: what the bare servers need to know of a row, which is the graph's
    input, its shape, the names of a row's numbers, and by what mean and scale they are scaled.
    """
    made, model = MODELS[name], folder / f"{name}.onnx"
    made.write(model)
    columns, classes = made.columns(64), made.schema.target.classes
    labelled = columns | {made.schema.target.names[0]: np.array(classes)[np.arange(64) % len(classes)]}
    transforms = Transforms.fit(made.schema, labelled)
    (folder / f"{name}.json").write_text(json.dumps(_input(transforms)), "utf-8")
    write_bundle(
        folder / name,
        name=name,
        run="bench",
        trial="bench",
        schema=made.schema,
        transforms=transforms,
        model=model,
        runtime="onnx",
        parity=Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1),
        sample=rows_in(made.columns(3)),
        versions={},
    )
    return folder / name


def _input(transforms: Transforms) -> dict[str, Any]:
    ((name, spec),) = transforms.input_specs.items()
    content = transforms.to_dict()["inputs"][0]["content"]
    single = name == "features"
    return {
        "name": name,
        "shape": spec.shape,
        "columns": content["names"] if single else [],
        "mean": content["mean"] if single else [0.0],
        "scale": content["scale"] if single else [255.0],
    }
