"""Resized images as ONNX operators: what the converter makes of them has other pixels, or another size.

A resize of a fixed size is linear and works along each axis alone, so it is two products with matrices. What stands in
them is measured: TensorFlow's own operator resizes an image for each pixel of an axis, in which that pixel alone is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.export.operators.nodes import FLOAT, constant, node_of, replace, values_of

Matrix = NDArray[np.float32]


def bilinear(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """ONNX has it, by the size: a size that is computed from a scale is sometimes one pixel less."""
    size = values_of(ctx, node.input[1])
    centers, corners = (node.get_attr_value(name, 0) for name in ("half_pixel_centers", "align_corners"))
    if size is None:
        _converters_own(ctx, node)
        return
    images = node_of(ctx, "Transpose", _floats(ctx, node), perm=[0, 3, 1, 2])
    begin = node_of(ctx, "Shape", images, end=2)
    sizes = node_of(ctx, "Concat", begin, constant(ctx, node, size, np.int64), axis=0)
    mode = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    resized = node_of(
        ctx, "Resize", images, "", "", sizes, mode="linear", coordinate_transformation_mode=mode
    )
    replace(ctx, node, "Transpose", [resized], perm=[0, 2, 3, 1])


def nearest(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Which pixel each one is a copy of: where two are as near, ONNX Runtime takes the other one."""
    size = values_of(ctx, node.input[1])
    before = ctx.get_shape(node.input[0])
    if size is None or before is None or -1 in before[1:3]:
        _converters_own(ctx, node)
        return
    result = node.input[0]
    for axis, matrix in enumerate(_matrices(ctx, node, _plain(node)), 1):
        places = constant(ctx, node, matrix.argmax(axis=1), np.int64)
        result = node_of(ctx, "Gather", result, places, axis=axis)
    replace(ctx, node, "Identity", [result])


def by_matrices(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Any other interpolation, of a fixed size; ONNX has some of them with other weights."""
    rows, columns = _matrices(ctx, node, _scaled(ctx, node) if len(node.input) > 2 else _plain(node))
    images = node_of(ctx, "Transpose", _floats(ctx, node), perm=[0, 3, 1, 2])
    tall = node_of(ctx, "MatMul", constant(ctx, node, rows), images)
    resized = node_of(ctx, "MatMul", tall, constant(ctx, node, columns.T))
    replace(ctx, node, "Transpose", [resized], perm=[0, 2, 3, 1])


Resize = Callable[[Any, int, int], Any]  # images of one column, which axis of the node's, its size afterwards


def _matrices(ctx: Any, node: Any, resize: Resize) -> list[Matrix]:
    """For height and width what each pixel after it takes from each one before it, (after, before)."""
    size = values_of(ctx, node.input[1])
    before = ctx.get_shape(node.input[0])
    if size is None or before is None or -1 in before[1:3]:
        raise ValueError(
            f"images of any size are resized by {node.type}; expected a fixed size, which their weights are of; "
            "fix the height and width of the input"
        )
    return [_measured(resize, axis, before[axis + 1], int(size[axis])) for axis in (0, 1)]


def _measured(resize: Resize, axis: int, before: int, after: int) -> Matrix:
    import tensorflow as tf

    # The converter works in a graph, where nothing has a value; a session is TensorFlow's way to get one there.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pixels = tf.constant(np.eye(before, dtype=np.float32)[None, :, None, :])
        resized: Matrix = session.run(resize(pixels, axis, after))
    return resized[0, :, 0, :]


def _plain(node: Any) -> Resize:
    import tensorflow as tf

    operator = getattr(tf.raw_ops, node.type)
    names = ("align_corners", *(["half_pixel_centers"] if node.type != "ResizeArea" else []))
    options = {name: bool(node.get_attr_value(name, 0)) for name in names}

    def resize(pixels: Any, _axis: int, after: int) -> Any:
        return operator(images=pixels, size=[after, 1], **options)

    return resize


def _scaled(ctx: Any, node: Any) -> Resize:
    import tensorflow as tf

    scale, translation = (values_of(ctx, name) for name in node.input[2:4])
    if scale is None or translation is None:
        raise ValueError("images are resized by a computed scale; expected a fixed one; fix the input's size")
    kind = node.get_attr_value("kernel_type", b"lanczos3")
    options = {"kernel_type": kind.decode() if isinstance(kind, bytes) else kind}
    options["antialias"] = bool(node.get_attr_value("antialias", 1))

    def resize(pixels: Any, axis: int, after: int) -> Any:
        return tf.raw_ops.ScaleAndTranslate(
            images=pixels,
            size=[after, 1],
            scale=[float(scale[axis]), 1.0],
            translation=[float(translation[axis]), 0.0],
            **options,
        )

    return resize


def _floats(ctx: Any, node: Any) -> str:
    """The images as float32, which all but the nearest pixel give."""
    name: str = node.input[0]
    return name if ctx.get_dtype(name) == FLOAT else node_of(ctx, "Cast", name, to=FLOAT)


def _converters_own(ctx: Any, node: Any) -> None:
    from tf2onnx.onnx_opset.nn import Resize

    Resize.version_11(ctx, node)


HANDLERS: dict[str, Callable[..., None]] = {
    "ResizeBilinear": bilinear,
    "ResizeNearestNeighbor": nearest,
    "ResizeBicubic": by_matrices,
    "ResizeArea": by_matrices,
    "ScaleAndTranslate": by_matrices,
}
