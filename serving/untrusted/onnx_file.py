"""Checks an `.onnx` file: it may hold one graph of standard operators, with all its data in it.

External data is refused whatever its path: a bundle has no other file, and ONNX Runtime would read the one that is
named. The file is read with protobuf, as ONNX Runtime reads it, with only the fields that matter here
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 has the numbers); a serving environment does not have the
package `onnx`.
"""

from functools import cache
from pathlib import Path
from typing import Any

from tidegate.serving.untrusted import looks_like, refusal
from tidegate.serving.untrusted.protobuf import NUMBER, TEXT, Messages, message_class, walk

DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
EXTERNAL = 1  # TensorProto.DataLocation
MESSAGES: Messages = {
    "Model": {
        "graph": (7, "Graph", False),
        "training": (20, "Training", True),
        "functions": (25, "Function", True),
    },
    "Training": {"initialization": (1, "Graph", False), "algorithm": (2, "Graph", False)},
    "Function": {"node": (7, "Node", True), "domain": (10, TEXT, False), "defaults": (11, "Attribute", True)},
    "Graph": {
        "node": (1, "Node", True),
        "initializer": (5, "Tensor", True),
        "sparse": (15, "Sparse", True),
    },
    "Node": {
        "op_type": (4, TEXT, False),
        "attribute": (5, "Attribute", True),
        "domain": (7, TEXT, False),
    },
    "Attribute": {
        "t": (5, "Tensor", False),
        "g": (6, "Graph", False),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "Graph", True),
        "sparse": (22, "Sparse", False),
        "sparses": (23, "Sparse", True),
    },
    "Sparse": {"values": (1, "Tensor", False), "indices": (2, "Tensor", False)},
    "Tensor": {
        "name": (8, TEXT, False),
        "external_data": (13, "Entry", True),
        "data_location": (14, NUMBER, False),
    },
    "Entry": {"key": (1, TEXT, False), "value": (2, TEXT, False)},
}


def check(model: Path, code: Path | None) -> None:
    """Refuse external data, operators of other domains and files that are not ONNX models.

    Raises:
        UntrustedModelError: with the tensor or operator at fault.
    """
    del code  # a graph is complete
    parsed = _parsed(model)
    if not parsed.HasField("graph") or not parsed.graph.node:
        raise refusal(model, "it has no graph", "an ONNX model with at least one operator")
    domains = DOMAINS | {function.domain for function in parsed.functions}
    for kind, message in walk(parsed):
        if kind == "Tensor" and (message.data_location == EXTERNAL or message.external_data):
            raise _external(model, message)
        if kind == "Node" and message.domain not in domains:
            operator = f"{message.domain}:{message.op_type}"
            raise refusal(model, f"it has the operator {operator!r}", "operators of ONNX itself")


def _parsed(model: Path) -> Any:
    from google.protobuf.message import DecodeError

    content = model.read_bytes()
    parsed = _model_class()()
    try:
        parsed.ParseFromString(content)
    except (DecodeError, RecursionError) as error:
        found = f"it is not an ONNX model but {looks_like(content[:8])}"
        raise refusal(model, found, "an ONNX model, with no message nested deeper than 100") from error
    return parsed


def _external(model: Path, tensor: Any) -> Exception:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    found = (
        f"the data of its tensor {tensor.name!r} is stored in another file, {entries.get('location', '')!r}"
    )
    return refusal(model, found, "all data in the model file itself")


@cache
def _model_class() -> Any:
    return message_class("Model", MESSAGES)
