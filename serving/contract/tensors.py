"""Tensors of the standard dialects: datatypes, their bytes, and the conversion to a column."""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.sequences import padded
from tidegate.models.preprocessing.schema import Field, Target
from tidegate.models.preprocessing.target.answers import parts_of
from tidegate.serving.contract.answers import argmax_rows, limits_of
from tidegate.serving.contract.casting import cast_array, cast_column, concatenated, pack
from tidegate.serving.contract.contract import Contract
from tidegate.serving.errors import ContractError

Array = NDArray[Any]

DTYPES = {
    "BOOL": np.dtype("u1"),
    **{f"UINT{size}": np.dtype(f"<u{size // 8}") for size in (8, 16, 32, 64)},
    **{f"INT{size}": np.dtype(f"<i{size // 8}") for size in (8, 16, 32, 64)},
    **{f"FP{size}": np.dtype(f"<f{size // 8}") for size in (16, 32, 64)},
    "BF16": np.dtype("<u2"),
}
NAMES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "str": "BYTES"}
LENGTH = struct.Struct("<I")
ANOMALY = "anomaly"  # of a score, whether it is above the threshold
MASK = "mask"  # of a class at each pixel, what a pixel of the class holds
ANSWERED = "answered"  # of a set of labels, which of them are


@dataclass(frozen=True)
class TensorSpec:
    """Name and datatype of a tensor, and the shape of one of its rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def input_specs(contract: Contract) -> list[TensorSpec]:
    """The raw inputs as tensors, in the contract's order."""
    return [
        TensorSpec(field.name, datatype_of(field.dtype), field.free_shape)
        for field in contract.schema_.inputs
    ]


def output_specs(contract: Contract) -> list[TensorSpec]:
    """The outputs as tensors: of a classifier `probabilities` and `label`, of a regressor `predictions`.

    Of several outputs a tensor called as each, and of one of classes NAME_label too; arrays keep their shape. Of a
    label for each token `probabilities` and `labels`, an empty text where the row has none. Of sets of labels that have
    thresholds of their own `answered`, true where a label is, beside `probabilities`. Of masks `mask`, what a pixel of
    the likeliest class holds, beside `probabilities`. Of anomalies `score`, and `anomaly`, true above the threshold. Of
    a forecast `predictions` has the quantiles of each step. Of a model that writes texts `text` and `log_probability`;
    for boxes see `box_tensors`.
    """
    if contract.detection is not None:
        most = contract.detection.max_boxes
        return [
            TensorSpec("boxes", "FP32", (most, 4)),
            TensorSpec("scores", "FP32", (most,)),
            TensorSpec("labels", "BYTES", (most,)),
            TensorSpec("count", "INT64", ()),
        ]
    if contract.decoding is not None:
        return [TensorSpec("text", "BYTES", ()), TensorSpec("log_probability", "FP32", ())]
    target = contract.target_
    if target.outputs is not None:
        by_name = {one.name: one for one in target.outputs}
        named = [(name, _specs_of(by_name[name])) for name in target.names]
        return [spec for name, specs in named for spec in _named(name, specs)]
    return _specs_of(target)


def _specs_of(target: Target) -> list[TensorSpec]:
    """The tensors of one output: its numbers first."""
    shape = target.shape or ()
    if target.task == "tagging":
        several = TensorSpec("probabilities", "FP32", (*shape, len(target.classes)))
        return [several, TensorSpec("labels", "BYTES", shape)]
    if target.task == "anomaly":
        return [TensorSpec("score", "FP32", (1,)), TensorSpec(ANOMALY, "BOOL", ())]
    if target.quantiles is not None:
        return [TensorSpec("predictions", "FP32", (*shape, len(target.quantiles)))]
    if target.task == "segmentation":
        at_places = TensorSpec("probabilities", "FP32", (*shape, len(target.classes)))
        return [at_places] if target.values is None else [at_places, TensorSpec(MASK, "INT32", shape)]
    if target.task == "multilabel":
        probabilities = TensorSpec("probabilities", "FP32", (len(target.classes),))
        answered = TensorSpec(ANSWERED, "BOOL", (len(target.classes),))
        return [probabilities] if target.thresholds is None else [probabilities, answered]
    if not target.classes:
        return [TensorSpec("predictions", "FP32", shape or (len(target.names),))]
    kinds = {type(name) for name in target.classes}
    label = "BOOL" if kinds == {bool} else "INT64" if kinds == {int} else "BYTES"
    return [
        TensorSpec("probabilities", "FP32", (len(target.classes),)),
        TensorSpec("label", label, ()),
    ]


def _named(name: str, specs: list[TensorSpec]) -> list[TensorSpec]:
    """The tensors of one of several outputs: the first is called as the output, others after it."""
    return [
        TensorSpec(name if place == 0 else f"{name}_{spec.name}", spec.datatype, spec.shape)
        for place, spec in enumerate(specs)
    ]


class AnswerTensors:
    """Turns answers into the tensors of `output_specs`, but for boxes and texts; prepared once for a contract."""

    def __init__(self, contract: Contract) -> None:
        target = contract.target_
        self._parts: list[tuple[slice, str, Callable[[Array], Array]]] = []
        for output, part in list(parts_of(target)) or [(target, slice(None))]:
            plain = _specs_of(output)
            named = plain if target.outputs is None else _named(output.name, plain)
            for spec, own in zip(named, plain, strict=True):
                self._parts.append((part, spec.name, _maker(output, own)))

    def __call__(self, values: NDArray[np.float32]) -> dict[str, Array]:
        """The answers `(n, units)` by name."""
        found: dict[str, Array] = {}
        for part, name, make in self._parts:
            found[name] = make(values[:, part])
        return found


def _maker(output: Target, spec: TensorSpec) -> Callable[[Array], Array]:
    """What makes a tensor of an output's numbers `(n, units)`."""
    if spec.name == ANOMALY:
        (limit,) = output.thresholds or (math.inf,)
        return lambda values: np.asarray(values[:, 0] > np.float64(limit))  # as `answers` compares
    if spec.name == ANSWERED:
        limits = np.asarray(limits_of(output))
        return lambda values: np.asarray(values >= limits)
    if spec.name == MASK:
        held = np.array(output.values, np.int32)
        return lambda values: np.asarray(held[values.reshape(len(values), *spec.shape, -1).argmax(axis=-1)])
    if spec.name == "label":
        classes = np.array(output.classes)
        return lambda values: np.asarray(classes[argmax_rows(values)])
    if spec.name == "labels":
        at_places = np.array(output.classes).astype(object)
        return lambda values: np.asarray(
            at_places[values.reshape(len(values), *spec.shape, -1).argmax(axis=-1)]
        )
    return lambda values: values.reshape(len(values), *spec.shape)


def box_tensors(contract: Contract, values: NDArray[np.float32]) -> dict[str, Array]:
    """Boxes `(n, max_boxes, 6)` as tensors of one size: after the `count` boxes found come zeros and empty labels.

    `boxes` are left, top, right, bottom in pixels of the image sent, the best box first.
    """
    places = values[:, :, 0].astype(np.int64)
    labels = np.array([*map(str, contract.classes), ""], object)  # -1, which means no box, is the last one
    return {
        "boxes": values[:, :, 2:],
        "scores": values[:, :, 1],
        "labels": labels[places],
        "count": (places >= 0).sum(axis=1),
    }


def datatype_of(dtype: str) -> str:
    """The datatype of a NumPy dtype's name, or of "str"."""
    return NAMES.get(dtype) or dtype.upper()


def from_bytes(name: str, datatype: str, count: int, raw: memoryview) -> Array | list[bytes]:
    """Read `count` elements from a tensor's bytes, without copying numbers.

    Returns:
        A flat array (BF16 widened to float32), or a list of bytes for BYTES.

    Raises:
        ContractError: an unknown datatype, or too few or too many bytes.
    """
    if datatype == "BYTES":
        return _split_bytes(name, raw, count)
    dtype = _numpy_dtype(name, datatype)
    if len(raw) != count * dtype.itemsize:
        expected = f"{count * dtype.itemsize} bytes: {count} elements of {datatype}"
        raise ContractError(
            name, f"{len(raw)} bytes", expected, "correct shape, datatype or binary_data_size"
        )
    flat: Array = np.frombuffer(raw, dtype)
    if datatype == "BF16":
        return (flat.astype(np.uint32) << 16).view(np.float32)
    if datatype == "BOOL":
        if flat.max(initial=0) > 1:
            raise ContractError(name, f"a BOOL byte {int(flat.max())}", "bytes 0 and 1", "write 1 for true")
        return flat.view(np.bool_)
    return flat


def to_bytes(values: Array) -> bytes:
    """A tensor's bytes: numbers little-endian, each text after its length."""
    if values.dtype.kind in "UO":
        texts = [str(text).encode() for text in values.ravel().tolist()]
        return b"".join(part for text in texts for part in (LENGTH.pack(len(text)), text))
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def flatten(name: str, data: Any, count: int) -> list[Any]:
    """JSON data, flat or nested, as a flat list of `count` elements; raises ContractError."""
    flat = data if isinstance(data, list) else [data]
    while flat and all(type(part) is list for part in flat):
        flat = flat[0] if len(flat) == 1 else concatenated(flat)
    if len(flat) != count:
        expected = f"{count} elements, as the shape says"
        raise ContractError(name, f"{len(flat)} elements", expected, "correct data or shape")
    return flat


def tensor_to_column(
    field: Field, categories: Sequence[str], shape: tuple[int, ...], values: Array | list[Any]
) -> Array:
    """The column of a tensor of this shape (rows first), whose values are flat; raises ContractError, naming the row.

    A tensor of sequences may have fewer steps than the longest sequence; all its rows have the same number.
    """
    inner = shape[1:]
    if field.kind == "sequence" and inner[1:] == field.shape[1:] and inner and 1 <= inner[0] < field.shape[0]:
        short = field.model_copy(update={"shape": inner, "kind": "numeric"})
        rows = tensor_to_column(short, (), shape, values)
        return padded(list(rows), field.shape[0]).astype(field.dtype, copy=False)
    if inner != field.shape and not (inner == (1,) and not field.shape):
        expected = f"shape {[-1, *field.shape]}" + (" or fewer steps" if field.kind == "sequence" else "")
        raise ContractError(field.name, f"shape {list(shape)}", expected, "reshape the tensor")
    if isinstance(values, np.ndarray):
        column = cast_array(field, values)
    else:
        column = pack(np.dtype(field.dtype), values) if field.shape else None
    if column is not None:
        return column.reshape(shape[0], *field.shape)
    return cast_column(field, categories, _rows(field, shape[0], values))


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Check that every size is a whole number and that there is a row, and return the shape; raises ContractError."""
    valid = isinstance(shape, list) and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    if not valid or not shape or shape[0] == 0:
        received = f"the shape {str(shape)[:60]}"
        raise ContractError(name, received, "[rows, ...], with one row at least", "correct the shape")
    return tuple(shape)


def element_count(shape: tuple[int, ...]) -> int:
    """The number of elements of a shape."""
    return math.prod(shape)


def _rows(field: Field, rows: int, values: Array | list[Any]) -> list[Any]:
    """One value per row, as JSON would have them, for the slow path that finds the error."""
    if not field.shape:
        return list(values.tolist() if isinstance(values, np.ndarray) else values)
    flat = values if isinstance(values, np.ndarray) else _objects(values)
    return list(flat.reshape(rows, *field.shape).tolist())


def _objects(values: list[Any]) -> Array:
    flat = np.empty(len(values), object)
    flat[:] = values
    return flat


def _numpy_dtype(name: str, datatype: str) -> np.dtype[Any]:
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        expected = f"one of {', '.join([*DTYPES, 'BYTES'])}"
        raise ContractError(name, f"the datatype {str(datatype)[:40]!r}", expected, "correct the datatype")
    return dtype


def check_datatype(name: str, datatype: Any) -> str:
    """Check that the datatype exists, and return it; raises ContractError."""
    if datatype != "BYTES":
        _numpy_dtype(name, datatype)
    return str(datatype)


def _split_bytes(name: str, raw: memoryview, count: int) -> list[bytes]:
    parts: list[bytes] = []
    place = 0
    while place + LENGTH.size <= len(raw) and len(parts) < count:
        (size,) = LENGTH.unpack_from(raw, place)
        place += LENGTH.size
        if place + size > len(raw):
            break
        parts.append(bytes(raw[place : place + size]))
        place += size
    if len(parts) != count or place != len(raw):
        expected = f"{count} elements of BYTES, each a 4-byte length and its bytes"
        raise ContractError(name, f"{len(raw)} bytes that hold {len(parts)}", expected, "correct the lengths")
    return parts
