"""One part of what the user's `load` gives, as columns of NumPy or Arrow by name; all else is named and refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.models.errors import FormatError, one_line
from tidegate.models.readers import INDEX


class Part(dict[str, Any]):
    """Columns by name: arrays of numbers of NumPy `(n, ...)`, or chunked arrays of Arrow.

    Attributes:
        index: those that are the index of a pandas table.
    """

    index: frozenset[str] = frozenset()


def columns_of_part(part: Any, where: str, expected: str) -> Part:
    """The columns of a dict or a table.

    Args:
        part: what was returned.
        where: what returned it, for messages.
        expected: the same.

    Raises:
        FormatError: it is something else, its columns have different lengths, or a column has no type.
    """
    if isinstance(part, Mapping):
        found = Part((_name(name, where), _column(name, column, where)) for name, column in part.items())
    elif hasattr(part, "__arrow_c_stream__") or hasattr(part, "__arrow_c_array__"):
        found = _of_table(part, where)
    else:
        raise FormatError(f"{where} gave {_what(part)}; expected {expected}{_hint(part)}")
    if not found:
        raise FormatError(f"{where} gave no columns; expected {expected}")
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FormatError(
            f"{where}: columns have different lengths: {listed}; expected one entry per row in each; return columns "
            "that belong together"
        )
    return found


def length_of(part: Part) -> int:
    """Its number of rows."""
    return len(next(iter(part.values())))


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name:
        raise FormatError(f"{where}: a column is called {name!r}; expected a text as its name; rename it")
    return name


def _of_table(table: Any, where: str) -> Part:
    import pyarrow

    try:
        found = pyarrow.table(table)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise FormatError(
            f"{where} gave a table that Arrow cannot read: {one_line(error)[:300]}; expected columns of one type each; "
            "convert the column, for example by astype(str)"
        ) from error
    names: list[str] = found.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormatError(f"{where}: two columns are called {twice!r}; expected each name once; rename one")
    index = (found.schema.pandas_metadata or {}).get("index_columns", ())
    part = Part((name, found.column(name)) for name in names)
    part.index = frozenset(name for name in names if name in index or INDEX.fullmatch(name))
    return part


def _column(name: str, column: Any, where: str) -> Any:
    if hasattr(column, "__arrow_c_stream__") or hasattr(column, "__arrow_c_array__"):
        return _arrow(name, column, where)
    if isinstance(column, list | tuple):
        return _of_list(name, column, where)
    if not isinstance(column, np.ndarray):
        if not hasattr(column, "__array__"):
            raise _refused(name, f"{_what(column)}", where)
        column = np.asarray(column)
    if column.ndim == 0:
        raise _refused(name, f"the single value {column}", where)
    if column.dtype.kind in "biuf":
        native: np.ndarray = column.astype(column.dtype.newbyteorder("="), copy=False)
        return native
    if column.dtype.kind not in "USMO" or column.ndim > 1:
        raise _refused(name, f"an array of dtype {column.dtype} and shape {column.shape}", where)
    if column.dtype.kind == "O":
        return _of_list(name, column.tolist(), where)
    texts = np.char.decode(column, "utf-8") if column.dtype.kind == "S" else column
    return _arrow(name, column if column.dtype.kind == "M" else texts.tolist(), where)


def _of_list(name: str, values: list[Any] | tuple[Any, ...], where: str) -> Any:
    """A list, through NumPy where its entries are arrays of one shape."""
    if values and all(isinstance(value, np.ndarray) and value.ndim for value in values):
        shapes = {value.shape for value in values}
        if len(shapes) == 1:
            return _column(name, np.stack(values), where)
    return _arrow(name, list(values), where)


def _arrow(name: str, values: Any, where: str) -> Any:
    import pyarrow

    try:
        if isinstance(values, list):
            return pyarrow.chunked_array([pyarrow.array(values, from_pandas=True)])
        if isinstance(values, np.ndarray):
            return pyarrow.chunked_array([pyarrow.array(values)])
        if hasattr(values, "__arrow_c_stream__"):
            return pyarrow.chunked_array(values)
        return pyarrow.chunked_array([pyarrow.array(values)])
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            f"{where}: column {name!r} has no type: {one_line(error)[:300]}; expected values of one type, with None "
            "where one is missing; convert them"
        ) from error


def _refused(name: str, held: str, where: str) -> FormatError:
    return FormatError(
        f"{where}: column {name!r} is {held}; expected an array or a list with one entry per row, of numbers, "
        "booleans, strings or dates; convert it"
    )


def _what(value: Any) -> str:
    return (
        "None"
        if value is None
        else f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    )


def _hint(value: Any) -> str:
    return "; call its collect() first" if hasattr(value, "collect") else ""
