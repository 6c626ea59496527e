"""Reads rows of single values quickly: requests to a model of a table are that, most of them of one row.

Reading column by column costs NumPy's fixed price for each: sixteen numbers took ten times as long as running the
model. Here all numbers of a dtype are packed at once. Whatever is not plain (null, a fraction for an integer, another
datatype, a mistake) is left to the reader of columns, which explains what is wrong.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, RowColumns
from tidegate.models.preprocessing.schema import Field
from tidegate.serving.contract.casting import cast_or_none
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.tensors import DTYPES, datatype_of

DATATYPES = frozenset({*DTYPES, "BYTES"})
CODES = "fdbBhHiIlLqQ"  # of dtypes whose characters mean the same in NumPy and `struct`
EXACT = 1 << 53  # integers up to here are the same in float64
LARGEST = 3e38  # a float32 that is not infinite
# Of a tensor's bytes, which are little-endian and whose sizes do not depend on the machine.
FORMATS = {"FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"}
FORMATS |= {f"U{name}": code.upper() for name, code in FORMATS.items() if name.startswith("INT")}
KINDS = ("numeric", "categorical", "text", "id", "date")


class RowReader:
    """Reads rows of one contract.

    Args:
        contract: of the endpoint; see `suits`.
    """

    def __init__(self, contract: Contract) -> None:
        fields = contract.schema_.inputs
        self._names = tuple(field.name for field in fields)
        self._get = itemgetter(*self._names)
        numbers = [place for place, field in enumerate(fields) if _is_number(field)]
        self._number_names = tuple(self._names[place] for place in numbers)
        self._groups = _groups(fields, numbers)
        self._alone = self._groups[0] if len(self._groups) == 1 and len(numbers) == len(fields) else None
        self._others = [
            (place, field, entry.categories)
            for place, (field, entry) in enumerate(zip(fields, contract.inputs, strict=True))
            if place not in numbers
        ]
        self._datatypes = {self._names[place]: datatype_of(fields[place].dtype) for place in numbers}
        self._formats = {name: FORMATS[kind] for name, kind in self._datatypes.items()}
        self._sizes = {name: DTYPES[kind].itemsize for name, kind in self._datatypes.items()}

    @staticmethod
    def suits(contract: Contract) -> bool:
        """Whether rows have several single values, some of them numbers."""
        fields = contract.schema_.inputs
        plain = all(field.kind in KINDS and not field.shape for field in fields)
        return plain and len(fields) > 1 and any(_is_number(field) for field in fields)

    def of_objects(self, rows: list[Any]) -> Columns | None:
        """Read rows `{input name: value}`; None where they are not plain."""
        count = len(self._names)
        try:
            values = [self._get(row) for row in rows if type(row) is dict and len(row) == count]
        except KeyError:
            return None
        if len(values) < len(rows):
            return None
        flat = values[0] if len(rows) == 1 else list(chain.from_iterable(zip(*values, strict=True)))
        return self._of_values(flat, len(rows))

    def of_tensors(self, tensors: list[dict[str, Any]], tail: memoryview) -> Columns | None:
        """Read tensors of one row: all of them JSON, or all of them the bytes of numbers; None where it is not plain.

        Args:
            tensors: as parsed.
            tail: what follows the JSON.
        """
        if len(tensors) != len(self._names):
            return None
        try:
            return self._of_bytes(tensors, tail) if len(tail) else self._of_data(tensors)
        except (KeyError, TypeError):  # a key that is not there, or a value that cannot be a key
            return None

    def _of_data(self, tensors: list[dict[str, Any]]) -> Columns | None:
        found: dict[str, Any] = {}
        for tensor in tensors:
            data = tensor["data"]
            plain = type(data) is list and len(data) == 1 and type(data[0]) is not list
            if not plain or "parameters" in tensor or tensor["datatype"] not in DATATYPES:
                return None
            if not _is_single(tensor["shape"]):
                return None
            found[tensor["name"]] = data[0]
        return None if len(found) != len(self._names) else self._of_values(self._get(found), 1)

    def _of_bytes(self, tensors: list[dict[str, Any]], tail: memoryview) -> Columns | None:
        names, form = [], "<"
        for tensor in tensors:
            name, parameters = tensor["name"], tensor["parameters"]
            size = parameters["binary_data_size"]
            if type(size) is not int or size != self._sizes[name] or len(parameters) != 1:
                return None
            if tensor["datatype"] != self._datatypes[name] or "data" in tensor:
                return None
            if not _is_single(tensor["shape"]):
                return None
            names.append(name)
            form += self._formats[name]
        if struct.calcsize(form) != len(tail):
            return None
        found = dict(zip(names, struct.unpack(form, tail), strict=True))
        return None if len(found) != len(self._names) else self._of_values(self._get(found), 1)

    def _of_values(self, flat: Sequence[Any], rows: int) -> Columns | None:
        """The values of one input after the other, in the contract's order."""
        if self._alone is not None:
            block = self._alone.pack(flat)
            if block is None:
                return None
            parts = zip(self._names, block.reshape(-1, rows), strict=True)
            if rows > 1:
                return dict(parts)
            return RowColumns(parts, self._number_names, self._alone.numbers(flat, block))
        columns: Columns = {}
        numbers: dict[str, Any] = {}
        for group in self._groups:
            given = [value for place in group.places for value in flat[place * rows : (place + 1) * rows]]
            block = group.pack(given)
            if block is None:
                return None
            names = [self._names[place] for place in group.places]
            columns |= zip(names, block.reshape(-1, rows), strict=True)
            numbers |= zip(names, group.numbers(given, block), strict=False) if rows == 1 else ()
        for place, field, categories in self._others:
            column = cast_or_none(field, categories, list(flat[place * rows : (place + 1) * rows]))
            if column is None:
                return None
            columns[field.name] = column
        ordered = [(name, columns[name]) for name in self._names]
        if rows > 1:
            return dict(ordered)
        return RowColumns(ordered, self._number_names, [numbers[name] for name in self._number_names])


@dataclass(frozen=True)
class _Group:
    """The places of the numbers of one dtype.

    Attributes:
        exact: whether a number is the same as in the request: float32 rounds it.
    """

    places: tuple[int, ...]
    dtype: np.dtype[Any]
    exact: bool

    def pack(self, values: Sequence[Any]) -> NDArray[Any] | None:
        """The numbers as they are, flat; None where one of them would change or is none."""
        if not (_are_floats(values) if self.dtype.kind == "f" else set(map(type, values)) == {int}):
            return None
        if not self.exact and not (max(values) <= LARGEST and min(values) >= -LARGEST):
            return None
        try:
            packed = struct.pack(f"{len(values)}{self.dtype.char}", *values)
        except (struct.error, OverflowError):
            return None
        # Writable, as a column that was read otherwise: a transform of the user's own may change it.
        return np.frombuffer(bytearray(packed), self.dtype)

    def numbers(self, values: Sequence[Any], packed: NDArray[Any]) -> list[float]:
        """What was packed, as Python's numbers."""
        return list(values) if self.exact else packed.tolist()


def _groups(fields: Sequence[Field], places: Sequence[int]) -> list[_Group]:
    by_dtype: dict[str, list[int]] = {}
    for place in places:
        by_dtype.setdefault(fields[place].dtype, []).append(place)
    return [_Group(tuple(own), np.dtype(name), name != "float32") for name, own in by_dtype.items()]


def _are_floats(values: Sequence[Any]) -> bool:
    """Whether all are finite numbers, and integers are the same in float64."""
    types = set(map(type, values))
    if types != {float} and not (types <= {int, float} and max(values) <= EXACT and min(values) >= -EXACT):
        return False
    return math.isfinite(sum(values))


def _is_number(field: Field) -> bool:
    return field.dtype not in ("str", "bool") and np.dtype(field.dtype).char in CODES


def _is_single(shape: Any) -> bool:
    """Whether it is a tensor's shape of one row with one value: `[1]` or `[1, 1]`."""
    return type(shape) is list and shape in ([1], [1, 1]) and all(type(size) is int for size in shape)
