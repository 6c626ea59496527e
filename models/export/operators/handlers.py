"""Operators of TensorFlow that the converter leaves out, or makes something else of; each function takes its graph and
a node, and replaces the node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tidegate.models.export.operators import resizing
from tidegate.models.export.operators.nodes import FLOAT, constant, node_of, replace, values_of

Handler = Callable[[Any, Any, str, list[Any]], None]
INT32, FLOAT16, DOUBLE = 6, 10, 11  # TensorProto's
PARTS = {"Real": 0, "Imag": 1, "ComplexAbs": None}  # places in ONNX's complex numbers: a last axis of two


def handlers(
    further: dict[str, tuple[Handler, list[Any]]] | None = None,
) -> dict[str, tuple[Handler, list[Any]]]:
    """Return the `custom_op_handlers` for `tf2onnx.convert.from_function`, and further ones."""
    known: dict[str, Handler] = {
        "Select": _select,
        "SelectV2": _select,
        "Bucketize": _bucketize,
        "RFFT": _rfft,
        **dict.fromkeys(PARTS, _part),
        "Conv3D": _conv_3d,
        **resizing.HANDLERS,
    }
    return {name: (handler, []) for name, handler in known.items()} | (further or {})


def _select(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """One of two values; the converter adds both, one times 0, which is no number if that is infinite or none."""
    from tf2onnx.onnx_opset.controlflow import Select

    if ctx.get_dtype(node.output[0]) in (FLOAT, FLOAT16, DOUBLE):
        node.set_attr("handles_nan", 1)
    Select.version_9(ctx, node)


def _bucketize(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """How many of the boundaries a value is not below; not a number is above all. Discretization uses it."""
    boundaries = np.array(node.get_attr_value("boundaries"), np.float32)
    dtype = ctx.get_dtype(node.input[0])
    values, kind = node.input[0], np.float64 if dtype == DOUBLE else np.float32
    if dtype not in (FLOAT, DOUBLE):
        values = node_of(ctx, "Cast", values, to=FLOAT)
    last = constant(ctx, node, [-1], np.int64)
    below = node_of(
        ctx, "Less", node_of(ctx, "Unsqueeze", values, last), constant(ctx, node, boundaries, kind)
    )
    count = node_of(ctx, "ReduceSum", node_of(ctx, "Cast", below, to=INT32), last, keepdims=0)
    replace(ctx, node, "Sub", [constant(ctx, node, len(boundaries), np.int32), count])


def _rfft(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """A Fourier transform of numbers, whose parts are read one by one. MelSpectrogram and STFTSpectrogram use it."""
    length, users = values_of(ctx, node.input[1]), ctx.find_output_consumers(node.output[0])
    others = sorted({user.type for user in users} - set(PARTS))
    if length is None or others:
        raise ValueError(
            f"a Fourier transform goes to {', '.join(others) or 'one of a computed length'}; expected its real and "
            "imaginary part or its size to be read; use keras.ops.rfft or stft and go on with the parts"
        )
    size = int(length[0])
    if size & (size - 1) == 0:
        signal = node_of(ctx, "Unsqueeze", node.input[0], constant(ctx, node, [-1], np.int64))
        axis = len(ctx.get_shape(node.input[0])) - 1
        replace(ctx, node, "DFT", [signal, constant(ctx, node, size, np.int64)], axis=axis, onesided=1)
        return
    # ONNX Runtime's DFT of another length loses digits: 1e-4 of the largest number at 1,000.
    waves = _waves(ctx.get_shape(node.input[0])[-1], size)
    products = [node_of(ctx, "MatMul", node.input[0], constant(ctx, node, part)) for part in waves]
    last = constant(ctx, node, [-1], np.int64)
    parts = [node_of(ctx, "Unsqueeze", product, last) for product in products]
    replace(ctx, node, "Concat", parts, axis=-1)


def _waves(given: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The real and imaginary parts of what each number adds to each frequency, (given, size // 2 + 1)."""
    if given < 0:
        raise ValueError("a Fourier transform of a free length; expected a known one; fix the input's length")
    times = np.outer(np.arange(given), np.arange(size // 2 + 1))
    inside = (np.arange(given) < size)[:, None]  # what is behind is left out
    waves = np.exp(-2j * np.pi * times / size) * inside
    return waves.real, waves.imag


def _part(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The real or imaginary part, or the size, of what `_rfft` made."""
    if node.inputs[0].type not in ("DFT", "Concat"):
        raise ValueError(
            f"complex numbers of {node.inputs[0].type} are read; expected those of a Fourier transform of numbers; "
            "compute with the real and imaginary parts"
        )
    place = PARTS[node.type]
    if place is None:
        replace(ctx, node, "ReduceL2", [node.input[0], constant(ctx, node, [-1], np.int64)], keepdims=0)
    else:
        replace(ctx, node, "Gather", [node.input[0], constant(ctx, node, place, np.int64)], axis=-1)


def _conv_3d(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """The converter leaves out the groups of a convolution in three dimensions."""
    from tf2onnx.onnx_opset.nn import ConvOp

    first = node.get_attr_value("data_format", b"NDHWC") in (b"NCDHW", "NCDHW")
    channels = ctx.get_shape(node.input[0])[1 if first else -1]
    groups = channels // ctx.get_shape(node.input[1])[-2]
    ConvOp.version_13(ctx, node)
    node.set_attr("group", groups)
