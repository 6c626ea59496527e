"""Operators of an exported graph that no version of ONNX has, and the layer that needs each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tidegate.models.keras_private import all_layers


class MissingOperatorError(Exception):
    """ONNX lacks an operator.

    Args:
        operator: TensorFlow's name of it.
        node: the name of its node, in which the names of the layers around it stand.
        cause: why it could not be written in other operators; "": it is not known.
    """

    def __init__(self, operator: str, node: str, cause: str = "") -> None:
        self.operator, self.node, self.cause = operator, node, cause
        super().__init__(operator)

    def told(self, model: Any) -> str:
        """What it is, with the layer of the model that needs it."""
        layer = _layer_of(model, self.node) if model is not None else None
        found = f"the layer {layer.name!r} ({type(layer).__name__}) " if layer is not None else "it "
        return f"{found}needs {self.operator}, " + (self.cause or "which ONNX does not have")


def require_operators(proto: Any, graphs: Iterator[Any], causes: dict[str, str]) -> None:
    """Raise MissingOperatorError for the first operator that ONNX lacks.

    Args:
        proto: an ONNX model.
        graphs: its graph, and those in its nodes.
        causes: why some nodes could not be converted, by name.
    """
    import onnx

    local = {function.name for function in proto.functions}
    for graph in graphs:
        for node in graph.node:
            if (
                node.domain in ("", "ai.onnx")
                and not onnx.defs.has(node.op_type)
                and node.op_type not in local
            ):
                raise MissingOperatorError(node.op_type, node.name, causes.get(node.name, ""))


def _layer_of(model: Any, node: str) -> Any:
    """The innermost layer whose name stands in a node's; None if there is none, as for a function of `keras.ops`."""
    known = {layer.name: layer for layer in all_layers(model) if layer is not model}
    for part in reversed(node.split("/")[:-1]):
        name = part if part in known else re.sub(r"_\d+$", "", part)  # Keras numbers the calls of a layer
        if name in known:
            return known[name]
    return None
