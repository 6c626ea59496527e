"""The gradients of TensorFlow's operators as ONNX operators, because the converter does not know them.

Every shape is known, because gradients are compiled for a fixed number of points; so decisions that depend on a shape,
such as along which axes a gradient is summed, are made here. Each function takes the converter's graph and a node, and
replaces the node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tidegate.models.export.operators.nodes import constant, node_of, replace, shape_of


def handlers() -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """Return the `custom_op_handlers` for `tf2onnx.convert.from_function`."""
    known = {
        "ReluGrad": _relu,
        "Relu6Grad": _relu6,
        "LeakyReluGrad": _leaky_relu,
        "EluGrad": _elu,
        "SeluGrad": _selu,
        "SoftplusGrad": _softplus,
        "TanhGrad": _tanh,
        "SigmoidGrad": _sigmoid,
        "SqrtGrad": _sqrt,
        "RsqrtGrad": _rsqrt,
        "ReciprocalGrad": _reciprocal,
        "ShapeN": _shapes,
        "StridedSliceGrad": _slice,
        "MaxPoolGrad": _max_pool,
        "AvgPoolGrad": _average_pool,
    }
    return {name: (handler, []) for name, handler in known.items()}


def _relu(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The gradient passes where the output is above 0."""
    gradient, features = node.input
    above = node_of(ctx, "Greater", features, constant(ctx, node, 0.0))
    replace(ctx, node, "Where", [above, gradient, constant(ctx, node, 0.0)])


def _relu6(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The gradient passes where the output is between 0 and 6."""
    gradient, features = node.input
    above = node_of(ctx, "Greater", features, constant(ctx, node, 0.0))
    below = node_of(ctx, "Less", features, constant(ctx, node, 6.0))
    replace(ctx, node, "Where", [node_of(ctx, "And", above, below), gradient, constant(ctx, node, 0.0)])


def _leaky_relu(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Below 0 the gradient is multiplied by alpha."""
    gradient, features = node.input
    less = node_of(ctx, "Mul", gradient, constant(ctx, node, node.get_attr_value("alpha", 0.2)))
    above = node_of(ctx, "Greater", features, constant(ctx, node, 0.0))
    replace(ctx, node, "Where", [above, gradient, less])


def _elu(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Below 0 the output is y = exp(x) - 1, with the derivative y + 1."""
    gradient, y = node.input
    less = node_of(ctx, "Mul", gradient, node_of(ctx, "Add", y, constant(ctx, node, 1.0)))
    below = node_of(ctx, "Less", y, constant(ctx, node, 0.0))
    replace(ctx, node, "Where", [below, less, gradient])


def _selu(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """As ELU with two constants (Klambauer et al., "Self-Normalizing Neural Networks", 2017)."""
    gradient, y = node.input
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    derivative = node_of(ctx, "Add", y, constant(ctx, node, scale * alpha))
    below = node_of(ctx, "Less", y, constant(ctx, node, 0.0))
    derivatives = node_of(ctx, "Where", below, derivative, constant(ctx, node, scale))
    replace(ctx, node, "Mul", [gradient, derivatives])


def _softplus(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The derivative of log(1 + exp(x)) is the sigmoid of x."""
    gradient, features = node.input
    replace(ctx, node, "Mul", [gradient, node_of(ctx, "Sigmoid", features)])


def _tanh(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """(1 - y^2) times the gradient."""
    y, gradient = node.input
    derivative = node_of(ctx, "Sub", constant(ctx, node, 1.0), node_of(ctx, "Mul", y, y))
    replace(ctx, node, "Mul", [gradient, derivative])


def _sigmoid(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """y (1 - y) times the gradient."""
    y, gradient = node.input
    derivative = node_of(ctx, "Mul", y, node_of(ctx, "Sub", constant(ctx, node, 1.0), y))
    replace(ctx, node, "Mul", [gradient, derivative])


def _sqrt(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """1 / (2 y) times the gradient."""
    y, gradient = node.input
    replace(ctx, node, "Div", [gradient, node_of(ctx, "Mul", y, constant(ctx, node, 2.0))])


def _rsqrt(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """-y^3 / 2 times the gradient."""
    y, gradient = node.input
    cube = node_of(ctx, "Mul", node_of(ctx, "Mul", y, y), y)
    replace(ctx, node, "Mul", [gradient, node_of(ctx, "Mul", cube, constant(ctx, node, -0.5))])


def _reciprocal(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """-y^2 times the gradient."""
    y, gradient = node.input
    replace(ctx, node, "Mul", [gradient, node_of(ctx, "Neg", node_of(ctx, "Mul", y, y))])


def _shapes(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The shapes themselves."""
    dtype = np.int64 if node.get_attr_value("out_type") == 7 else np.int32  # TensorProto's INT64
    for given, output in zip(list(node.input), list(node.output), strict=True):
        ctx.replace_all_inputs(output, constant(ctx, node, shape_of(ctx, given), dtype))
    ctx.remove_node(node.name)


def _slice(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The gradient of a contiguous slice: the gradient at its position, and 0 elsewhere."""
    shape, begin, end, strides = (ctx.get_node_by_output(name).get_tensor_value() for name in node.input[:4])
    masks = {
        key: node.get_attr_value(f"{key}_mask", 0)
        for key in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    grid = np.arange(math.prod(shape)).reshape(shape)[_items(begin, end, strides, masks)]
    first, last = (np.array(np.unravel_index(grid.flat[place], shape)) for place in (0, -1))
    sizes = last - first + 1
    if grid.size != math.prod(sizes):
        raise ValueError(
            "the gradient of a slice with strides is not supported; expected a contiguous slice; reshape first"
        )
    inner = node_of(ctx, "Reshape", node.input[4], constant(ctx, node, sizes, np.int64))
    pads = [*first, *(np.array(shape) - last - 1)]
    replace(ctx, node, "Pad", [inner, constant(ctx, node, pads, np.int64)])


def _items(begin: Any, end: Any, strides: Any, masks: dict[str, int]) -> tuple[Any, ...]:
    """The Python index that is equivalent to a StridedSlice."""
    items: list[Any] = []
    for place, stride in enumerate(strides):
        has = {key for key, mask in masks.items() if mask >> place & 1}
        if "ellipsis" in has:
            items.append(Ellipsis)
        elif "new_axis" in has:
            items.append(None)
        elif "shrink_axis" in has:
            items.append(begin[place])
        else:
            first = None if "begin" in has else begin[place]
            last = None if "end" in has else end[place]
            items.append(slice(first, last, stride))
    return tuple(items)


def _max_pool(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Each gradient goes to the first maximum of its window; overlapping windows add up."""
    given, _, gradient = node.input
    rows, height, width, channels = shape_of(ctx, given)
    kernel, strides, padding = _window(node)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    attributes |= {"auto_pad": "SAME_UPPER" if padding == "SAME" else "VALID"}
    images = node_of(ctx, "Transpose", given, perm=[0, 3, 1, 2])
    pooled = ctx.make_node("MaxPool", [images], output_count=2, attr=attributes)
    flat = constant(ctx, node, [-1], np.int64)
    places = node_of(ctx, "Reshape", pooled.output[1], flat)
    values = node_of(ctx, "Reshape", node_of(ctx, "Transpose", gradient, perm=[0, 3, 1, 2]), flat)
    count = constant(ctx, node, [rows * height * width * channels], np.int64)
    zeros = node_of(ctx, "Expand", constant(ctx, node, [0.0]), count)
    added = node_of(ctx, "ScatterElements", zeros, places, values, axis=0, reduction="add")
    whole = node_of(ctx, "Reshape", added, constant(ctx, node, [rows, channels, height, width], np.int64))
    replace(ctx, node, "Transpose", [whole], perm=[0, 2, 3, 1])


def _average_pool(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Each gradient is divided equally over its window."""
    _, *size, channels = (int(number) for number in ctx.get_node_by_output(node.input[0]).get_tensor_value())
    kernel, strides, padding = _window(node)
    outputs = shape_of(ctx, node.input[1])[1:3]
    needed = [
        (out - 1) * step + wide - one
        for out, step, wide, one in zip(outputs, strides, kernel, size, strict=True)
    ]
    before = [max(0, one) // 2 if padding == "SAME" else 0 for one in needed]
    pads = [*before, *(max(0, one) - lead for one, lead in zip(needed, before, strict=True))]
    counts = [
        [min(out * step - lead + wide, one) - max(out * step - lead, 0) for out in range(many)]
        for many, step, wide, one, lead in zip(outputs, strides, kernel, size, before, strict=True)
    ]
    parts = 1 / (np.array(counts[0])[:, None] * np.array(counts[1])[None, :])
    shares = node_of(ctx, "Mul", node.input[1], constant(ctx, node, parts[None, :, :, None]))
    images = node_of(ctx, "Transpose", shares, perm=[0, 3, 1, 2])
    window = constant(ctx, node, np.ones((channels, 1, *kernel)))
    spread = node_of(
        ctx,
        "ConvTranspose",
        images,
        window,
        group=channels,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        output_padding=[max(0, -one) for one in needed],
    )
    replace(ctx, node, "Transpose", [spread], perm=[0, 2, 3, 1])


def _window(node: Any) -> tuple[list[int], list[int], str]:
    """Height and width of a pooling's window and of its step, and how it is padded."""
    if (node.get_attr_value("data_format") or b"NHWC") not in (b"NHWC", "NHWC"):
        raise ValueError("the pooling's data format is channels first; expected channels last; change it")
    padding = node.get_attr_value("padding")
    padding = padding.decode() if isinstance(padding, bytes) else padding
    return list(node.get_attr_value("ksize"))[1:3], list(node.get_attr_value("strides"))[1:3], padding
