"""The inputs of an Open Inference Protocol request: tensors, in JSON or binary, to raw columns."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.descriptions import describe
from tidegate.serving.contract.encoded_images import ORIGINAL_SIZES, decode_images, field_sizes
from tidegate.serving.contract.row_reading import RowReader
from tidegate.serving.contract.tensors import (
    check_datatype,
    check_shape,
    element_count,
    flatten,
    from_bytes,
    tensor_to_column,
)
from tidegate.serving.errors import ContractError

TENSOR = '{"name", "shape", "datatype", "data"}'
Values = NDArray[Any] | list[Any]


class InputReader:
    """Reads the tensors of a request as the contract's inputs."""

    def __init__(self, contract: Contract) -> None:
        self._fields: dict[str, tuple[Field, Sequence[str]]] = {
            field.name: (field, entry.categories)
            for field, entry in zip(contract.schema_.inputs, contract.inputs, strict=True)
        }
        self._detects = contract.detection is not None
        self._row_reader = RowReader(contract) if RowReader.suits(contract) else None

    def read(self, content: dict[str, Any], tail: memoryview) -> tuple[Columns, int]:
        """Read all inputs.

        Args:
            content: the JSON part.
            tail: the bytes of the binary tensors, one after the other.

        Returns:
            Raw columns, and how many rows they have.

        Raises:
            ContractError: naming the input.
        """
        tensors = content.get("inputs")
        if not isinstance(tensors, list) or not all(isinstance(tensor, dict) for tensor in tensors):
            raise ContractError("inputs", describe(tensors), f"an array of {TENSOR}", "send every input")
        quick = None if self._row_reader is None else self._row_reader.of_tensors(tensors, tail)
        if quick is not None:
            return quick, 1
        parts: list[memoryview | None] = []
        for tensor in tensors:
            size = _binary_size(tensor)
            if size is not None and size > len(tail):
                expected = f"at most {len(tail)}, what is left of the body"
                raise ContractError("inputs", f"a binary_data_size of {size}", expected, "correct it")
            raw, tail = (None, tail) if size is None else (tail[:size], tail[size:])
            parts.append(raw)
        if len(tail):
            raise ContractError(
                "inputs", f"{len(tail)} bytes after the last tensor", "none", "state every binary_data_size"
            )
        return self.read_tensors(tensors, parts)

    def read_tensors(
        self, tensors: list[dict[str, Any]], parts: Sequence[memoryview | None]
    ) -> tuple[Columns, int]:
        """Read tensors and, where they are binary, the bytes of each; returns and raises what `read` does."""
        columns: Columns = {}
        for name, tensor, raw in zip(self._names(tensors), tensors, parts, strict=True):
            columns |= self._column(name, tensor, raw)
        return columns, _rows(columns)

    def _names(self, tensors: list[dict[str, Any]]) -> list[str]:
        names = [str(tensor.get("name")) for tensor in tensors]
        known = f"each of {', '.join(self._fields)} once"
        for name in names:
            if name not in self._fields or names.count(name) > 1:
                raise ContractError("inputs", f"the input {describe(name)}", known, "correct its name")
        for name in self._fields:
            if name not in names:
                raise ContractError(name, "no such input", known, "add it")
        return names

    def _column(self, name: str, tensor: dict[str, Any], raw: memoryview | None) -> Columns:
        field, categories = self._fields[name]
        shape = check_shape(name, tensor.get("shape"))
        datatype = check_datatype(name, tensor.get("datatype"))
        if raw is not None and "data" in tensor:
            raise ContractError(name, "data and binary_data_size", "one of them", "remove one")
        if raw is None and "data" not in tensor:
            raise ContractError(name, "no data", f"a tensor {TENSOR}", "add data, or binary_data_size")
        if datatype == "BYTES" and field.kind == "image":
            column, sizes = _images(field, _elements(name, tensor, raw, shape), shape)
            return self._sized(name, column, sizes)
        if raw is None:
            values: Values = flatten(name, tensor["data"], element_count(shape))
        else:
            values = from_bytes(name, datatype, element_count(shape), raw)
            values = _texts(name, values) if isinstance(values, list) else values
        column = tensor_to_column(field, categories, shape, values)
        return self._sized(name, column, field_sizes(field, len(column)) if self._detects else None)

    def _sized(self, name: str, column: NDArray[Any], sizes: NDArray[np.int32] | None) -> Columns:
        """A column; of a detection model also the images' original sizes."""
        return (
            {name: column, ORIGINAL_SIZES: sizes} if self._detects and sizes is not None else {name: column}
        )


def _binary_size(tensor: dict[str, Any]) -> int | None:
    name = "inputs"
    parameters = tensor.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise ContractError(name, f"parameters {describe(parameters)}", "an object", "correct them")
    if "shared_memory_region" in parameters:
        raise ContractError(name, "a shared memory region", "the data itself", "send data or binary data")
    size = parameters.get("binary_data_size")
    if size is None or (type(size) is int and size >= 0):
        return size
    raise ContractError(name, f"a binary_data_size {describe(size)}", "a number of bytes", "correct it")


def _texts(name: str, values: list[bytes]) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise ContractError(
            name, f"bytes that are not UTF-8 ({error.reason})", "UTF-8 text", "encode it"
        ) from None


def _elements(
    name: str, tensor: dict[str, Any], raw: memoryview | None, shape: tuple[int, ...]
) -> list[bytes]:
    count = element_count(shape)
    if raw is not None:
        read = from_bytes(name, "BYTES", count, raw)
        assert isinstance(read, list)
        return read
    try:
        return [base64.b64decode(text, validate=True) for text in flatten(name, tensor["data"], count)]
    except (binascii.Error, TypeError, ValueError) as error:
        raise ContractError(
            name, f"BYTES that are not base64 ({error})", "image files as base64", "encode them"
        ) from error


def _images(
    field: Field, files: list[bytes], shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    if shape[1:] not in ((), (1,)):
        raise ContractError(field.name, f"BYTES of shape {list(shape)}", "[rows] image files", "reshape them")
    return decode_images(field, files)


def _rows(columns: Columns) -> int:
    counts = {name: len(column) for name, column in columns.items()}
    first = next(iter(counts.values()))
    for name, count in counts.items():
        if count != first:
            expected = f"{first} rows, as the first input has"
            raise ContractError(name, f"{count} rows", expected, "send as many rows of every input")
    return first
