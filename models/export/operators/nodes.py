"""Nodes of the converter's graph, as its handlers make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FLOAT = 1  # TensorProto's float32


def constant(ctx: Any, node: Any, values: Any, dtype: Any = np.float32) -> str:
    """A constant, named after the node that it is for; its name."""
    from tf2onnx import utils

    name: str = ctx.make_const(utils.make_name(node.name), np.array(values, dtype)).output[0]
    return name


def node_of(ctx: Any, operator: str, *inputs: str, **attributes: Any) -> str:
    """A new node; the name of its only output."""
    name: str = ctx.make_node(operator, list(inputs), attr=attributes).output[0]
    return name


def replace(ctx: Any, node: Any, operator: str, inputs: list[str], **attributes: Any) -> None:
    """Replace a node by an operator whose output has the same name."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    ctx.remove_node(node.name)
    ctx.make_node(
        operator, inputs, attr=attributes, outputs=node.output, name=node.name, shapes=shapes, dtypes=dtypes
    )


def shape_of(ctx: Any, name: str) -> list[int]:
    """The shape of a value, all of which is known; raises ValueError."""
    shape = ctx.get_shape(name)
    if shape is None or -1 in shape:
        raise ValueError(f"the shape of {name} is {shape}; expected a known one; fix the input's shape")
    return list(shape)


FOLDED: dict[str, Callable[..., np.ndarray]] = {"Div": np.divide, "Mul": np.multiply, "Cast": np.asarray}


def values_of(ctx: Any, name: str) -> np.ndarray | None:
    """The values of a constant, or of numbers computed from some and from known sizes; None if inputs change them."""
    node = ctx.get_node_by_output(name)
    if node is not None and node.is_const():
        return np.asarray(node.get_tensor_value(as_list=False))
    if node is not None and node.type == "Slice":
        return _sizes(ctx, node)
    if node is None or node.type not in FOLDED:
        return None
    given = [values_of(ctx, one) for one in node.input]
    return None if any(one is None for one in given) else np.asarray(FOLDED[node.type](*given), np.float32)


def _sizes(ctx: Any, node: Any) -> np.ndarray | None:
    """Some sizes of a value, such as its height and width, where the node cuts them from its shape."""
    shape = node.inputs[0]
    while shape.type == "Cast":
        shape = shape.inputs[0]
    known = ctx.get_shape(shape.input[0]) if shape.type == "Shape" else None
    begin, end = (values_of(ctx, one) for one in node.input[1:3])
    if known is None or begin is None or end is None:
        return None
    sizes = known[int(begin[0]) : int(end[0])]
    return None if -1 in sizes else np.array(sizes)
