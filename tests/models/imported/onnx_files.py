"""Small ONNX models, as scikit-learn's converter and PyTorch's exporter write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.array([[1.5], [-3.0], [0.9]], np.float32)
BIAS = np.float32(-11.5)
CLASSES = ["no", "yes"]


def probability(columns: np.ndarray, weights: np.ndarray = WEIGHTS) -> np.ndarray:
    """The probability of the second class, `(n, 1)`, in float64."""
    return np.asarray(1 / (1 + np.exp(-(columns.astype(np.float64) @ weights + BIAS))))


def write_sklearn(path: Path, zip_map: bool = True) -> Path:
    """A logistic regression as skl2onnx writes it: labels, and probabilities as a dictionary of each row."""
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["float_input"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            coefficients=[*(-WEIGHTS[:, 0]).tolist(), *WEIGHTS[:, 0].tolist()],
            intercepts=[float(-BIAS), float(BIAS)],
            classlabels_strings=CLASSES,
            post_transform="LOGISTIC",
        ),
        helper.make_node("Normalizer", ["scores"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
    ]
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    if zip_map:
        nodes.append(
            helper.make_node(
                "ZipMap",
                ["probabilities"],
                ["output_probability"],
                domain="ai.onnx.ml",
                classlabels_strings=CLASSES,
            )
        )
        row = helper.make_map_type_proto(
            TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        answers = helper.make_value_info("output_probability", helper.make_sequence_type_proto(row))
    outputs = [helper.make_tensor_value_info("label", TensorProto.STRING, [None]), answers]
    return _save(path, nodes, [_given("float_input", [None, 3])], outputs, [])


def write_torch(path: Path, weights: np.ndarray = WEIGHTS, rows: Any = "batch") -> Path:
    """A linear layer as PyTorch exports it: two logits, and a free number of rows."""
    both = np.concatenate([0 * weights, weights], axis=1)
    constants = [numpy_helper.from_array(both, "weight")]
    constants.append(numpy_helper.from_array(np.array([0, BIAS], np.float32), "bias"))
    nodes = [helper.make_node("Gemm", ["input", "weight", "bias"], ["logits"])]
    return _save(path, nodes, [_given("input", [rows, 3])], [_given("logits", [rows, 2])], constants)


def _given(name: str, sizes: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)


def _save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "model", inputs, outputs, constants)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path
