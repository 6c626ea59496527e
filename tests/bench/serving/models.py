"""The two models that are served, as ONNX graphs with random weights, and what serves them needs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Parity

SIDE = 28


class Graph:
    """Collects the nodes and weights of a network."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.last = "image"

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

    def save(self, path: Path) -> None:
        self.add("Softmax")
        self.nodes[-1].output[0] = "output"
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", SIDE, SIDE, 1])
        answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 10])
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


MODELS = {"mlp": mlp, "cnn": cnn}


def images(rows: int) -> np.ndarray:
    """Images as Fashion-MNIST has them, `(rows, 28, 28)` uint8, half of the pixels dark."""
    random = np.random.default_rng(1)
    return (random.integers(0, 256, (rows, SIDE, SIDE)) * random.integers(0, 2, (rows, SIDE, SIDE))).astype(
        np.uint8
    )


def make_bundle(name: str, folder: Path) -> Path:
    """Write the bundle of one of `MODELS`, return its folder; the bare graph lies beside it."""
    columns = {"image": images(64), "label": np.arange(64) % 10}
    schema = Schema(
        inputs=(Field(name="image", kind="image", dtype="uint8", shape=(SIDE, SIDE)),),
        target=Target(names=("label",), task="classification", classes=tuple(range(10))),
    )
    model = folder / f"{name}.onnx"
    MODELS[name](model)
    write_bundle(
        folder / name,
        name=name,
        run="bench",
        trial="bench",
        schema=schema,
        transforms=Transforms.fit(schema, columns),
        model=model,
        runtime="onnx",
        parity=Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1),
        sample=columns["image"][:3].tolist(),
        versions={},
    )
    return folder / name
