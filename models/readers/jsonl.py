"""JSON Lines: one object per line, whose keys are the columns; nested lists of numbers are arrays.

A missing key, or null, is a missing value. All rows of a column have the same type: numbers, booleans, strings, or
lists of numbers of one shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.sources import file_bytes
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text, rows_per_chunk

ROWS = 10_000  # per chunk, or fewer if rows are large
GROWTH = 8  # bytes in memory, as Python objects, per byte of a line
TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "list"}


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks of rows; the file is read twice, the first time for the names and types of the columns."""
    types, count = _types(path)
    for name in columns or ():
        if name not in types:
            raise unknown_column(name, types, "input or target")
    wanted = list(types) if columns is None else columns
    lines, size = _lines(path), rows_per_chunk(GROWTH * file_bytes(path) / count, ROWS)
    while rows := list(islice(lines, size)):
        yield {name: _column(path, name, types[name], rows) for name in wanted}


def _types(path: Path) -> tuple[dict[str, str], int]:
    """The type of each column, and the number of rows."""
    types: dict[str, str] = {}
    count = 0
    for number, row in _lines(path):
        count += 1
        for name, value in row.items():
            if value is None:
                types.setdefault(name, "")
                continue
            known, found = types.get(name) or "", TYPES.get(type(value), "object")
            if found == "object" or (known and found != known):
                expected = (
                    f"{_article(known)}, as in the lines before" if known else "a number, string or list"
                )
                raise FormatError(
                    f"{path}, line {number}: {name!r} is {_article(found)}; expected {expected}; "
                    "correct the line, or flatten the object into separate keys"
                )
            types[name] = found
    if not types:
        raise FormatError(f"{path} has no rows; expected one JSON object per line; check its export")
    return types, count


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _object(path, number, line)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError(
            f"{path}, line {number} is not JSON: {error}; expected one object per line; correct the line"
        ) from error
    if not isinstance(row, dict):
        raise FormatError(
            f"{path}, line {number} holds {_article(TYPES.get(type(row), 'null'))}; expected an object "
            'such as {"x": 1.5, "label": "a"}; correct the line'
        )
    return row


def _column(path: Path, name: str, kind: str, rows: list[tuple[int, dict[str, Any]]]) -> Array:
    values = [row.get(name) for _, row in rows]
    if kind == "list":
        return _arrays(path, name, rows)
    if kind == "string" or (kind == "boolean" and None in values):
        texts = np.empty(len(values), object)
        texts[:] = [str(value).lower() if isinstance(value, bool) else value for value in values]
        return texts
    if kind in ("number", ""):
        return _numbers(path, name, values)
    return np.array(values, np.bool_)


def _numbers(path: Path, name: str, values: list[Any]) -> Array:
    try:
        whole = all(isinstance(value, int) for value in values)
        return np.array(values, np.int64 if whole else np.float64)
    except OverflowError as error:
        raise FormatError(
            f"{path}: {name!r} holds a number beyond 64 bits; expected int64 or float64; write it as a string"
        ) from error


def _arrays(path: Path, name: str, rows: list[tuple[int, dict[str, Any]]]) -> Array:
    shape: tuple[int, ...] | None = None
    arrays: list[Array | None] = []
    for number, row in rows:
        array = None if row.get(name) is None else _array(path, number, name, row[name])
        if array is not None and shape not in (None, array.shape):
            raise FormatError(
                f"{path}, line {number}: {name!r} has shape {array.shape}; expected {shape}, as in the lines "
                "before; pad or crop the rows to one shape"
            )
        shape = shape if array is None else array.shape
        arrays.append(array)
    blank = np.full(shape or (), np.nan)
    return np.stack([blank if array is None else array for array in arrays])


def _array(path: Path, number: int, name: str, value: list[Any]) -> Array:
    try:
        array = np.array(value)
        if array.dtype.kind in "biuf" and array.size:
            return array
    except (ValueError, OverflowError):
        pass
    raise FormatError(
        f"{path}, line {number}: {name!r} is not a regular list of numbers; expected a list such as [1.5, 2] or "
        "[[1, 2], [3, 4]]; pad the lists to one length, and join lists of strings"
    )


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "object" else kind if kind == "null" else f"a {kind}"
