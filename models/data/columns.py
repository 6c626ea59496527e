"""Rows stored column-wise, as every reader returns them and every step passes them on.

A column is an array with one entry per row: numbers and images in their native dtype, `(n, *shape)`;
strings as an object array `(n,)` of `str`, with None for a missing value. A missing number is NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import FormatError, SchemaError, nearest_name

Array: TypeAlias = NDArray[Any]
Columns: TypeAlias = dict[str, Array]


class RowColumns(dict[str, Array]):
    """The columns of one row, whose single numbers are also there as Python's, which are quicker to compute with.

    Attributes:
        names: of the columns that are numbers, in their order.
        numbers: the value of each, finite.
    """

    __slots__ = ("names", "numbers")

    def __init__(
        self, columns: Iterable[tuple[str, Array]], names: tuple[str, ...], numbers: list[float]
    ) -> None:
        super().__init__(columns)
        self.names, self.numbers = names, numbers


def rows_of(columns: Columns) -> int:
    """Number of rows; 0 without columns."""
    return next((len(column) for column in columns.values()), 0)


def take(columns: Columns, index: Array) -> Columns:
    """The rows at `index` (an integer array `(k,)`), in that order."""
    return {name: column[index] for name, column in columns.items()}


def rows_between(columns: Columns, start: int, stop: int) -> Columns:
    """The rows from `start` up to `stop`, not copied."""
    return {name: column[start:stop] for name, column in columns.items()}


def concat(chunks: Sequence[Columns]) -> Columns:
    """The chunks as one; a column with numbers in one chunk and strings in another becomes strings.

    Raises:
        FormatError: chunks have different columns or rows of different shapes.
    """
    if len(chunks) == 1:
        return chunks[0]
    names = list(dict.fromkeys(name for chunk in chunks for name in chunk))
    return {name: _joined(name, chunks) for name in names}


def missing(column: Array) -> NDArray[np.bool_]:
    """Which rows have no value, `(n,)` bool: None, or no finite number (for arrays: in the whole array)."""
    if column.dtype == object:
        return np.fromiter((value is None for value in column), np.bool_, len(column))
    if column.dtype.kind != "f":
        return np.zeros(len(column), np.bool_)
    absent = ~np.isfinite(column)
    return np.asarray(absent.reshape(len(column), -1).all(axis=1) if column.ndim > 1 else absent)


def as_strings(column: Array) -> Array:
    """A column `(n,)` as strings: 3.0 becomes "3", True "true", a missing value None."""
    if column.dtype == object:
        return column
    texts = np.empty(len(column), object)
    texts[:] = [text_of(value) for value in column.tolist()]
    return texts


def unknown_column(name: str, found: Iterable[str], role: str) -> SchemaError:
    """The error for a column, wanted as `role` ("target"), that does not exist; names the nearest."""
    names = list(found)
    near = nearest_name(name, names)
    hint = f"did you mean {near!r}?" if near else "name one of them"
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return SchemaError(f"{role} {name!r} is not a column of the data; the columns are: {shown}; {hint}")


def save_columns(path: Path, columns: Columns) -> None:
    """Write an .npz file without pickle; equal columns give equal bytes."""
    arrays: dict[str, Any] = {}
    for position, column in enumerate(columns.values()):
        if column.dtype == object:
            arrays |= {f"{position}.{part}": array for part, array in pack(column).items()}
        else:
            arrays[f"{position}"] = column
    names = np.frombuffer(json.dumps(list(columns)).encode(), np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, names=names, **arrays)


def load_columns(path: Path) -> Columns:
    """Read what `save_columns` wrote.

    Raises:
        FormatError: the file is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = json.loads(stored["names"].tobytes())
            return {name: _stored(stored, position) for position, name in enumerate(names)}
    except (ValueError, KeyError, EOFError) as error:
        raise FormatError(
            f"{path} is not a file of columns: {error}; expected what save_columns writes; prepare the data again"
        ) from error


def pack(column: Array) -> dict[str, Array]:
    """Strings as three arrays: `bytes` (UTF-8, uint8), `offsets` (int64, n + 1), `missing` (bool, n)."""
    encoded = [b"" if text is None else text.encode("utf-8", "surrogatepass") for text in column]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    content = np.frombuffer(b"".join(encoded), np.uint8)
    return {"bytes": content, "offsets": offsets, "missing": missing(column)}


def _stored(stored: Any, position: int) -> Array:
    if f"{position}" in stored:
        return np.asarray(stored[f"{position}"])
    content = stored[f"{position}.bytes"].tobytes()
    offsets = stored[f"{position}.offsets"].tolist()
    absent = stored[f"{position}.missing"].tolist()
    texts = np.empty(len(absent), object)
    for row, (start, end) in enumerate(pairwise(offsets)):
        texts[row] = None if absent[row] else content[start:end].decode("utf-8", "surrogatepass")
    return texts


def _joined(name: str, chunks: Sequence[Columns]) -> Array:
    parts = [chunk[name] if name in chunk else np.full(rows_of(chunk), np.nan) for chunk in chunks]
    if any(part.dtype == object for part in parts):
        parts = [as_strings(part) if part.ndim == 1 else part for part in parts]
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise FormatError(
            f"column {name!r} has rows of shape {' and '.join(map(str, sorted(shapes)))}; "
            "expected one shape in all rows; pad or crop them to one size"
        )
    return np.concatenate(parts)


def text_of(value: Any) -> str | None:
    """One value as `as_strings` gives it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
