"""What a transform of the user's own gives back, as columns: from a dict of arrays, or a table of any library."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.errors import TransformError

EXPECTED = "a dict of arrays by column name, or a table (pandas, Polars, pyarrow)"


def returned(found: Any, rows: int, what: str) -> Columns:
    """The columns of a result, `rows` values each.

    Args:
        found: what the function returned.
        rows: how many it was given.
        what: the option and the reference, for messages.

    Raises:
        TransformError: no columns, another number of rows, or values that are neither numbers nor texts.
    """
    parts = _parts(found, what)
    if not parts:
        raise TransformError(f"{what} returned no columns; expected {EXPECTED}; return one column or more")
    return {name: _column(name, values, rows, what) for name, values in parts.items()}


def _parts(found: Any, what: str) -> dict[str, Any]:
    if isinstance(found, Mapping):
        named = dict(found)
    elif hasattr(found, "iloc") and hasattr(found, "columns"):  # of pandas
        named = {name: found.iloc[:, place] for place, name in enumerate(found.columns)}
    elif hasattr(found, "__arrow_c_stream__"):
        import pyarrow

        table = pyarrow.table(found)
        named = dict(zip(table.column_names, table.columns, strict=True))
    else:
        received = "nothing" if found is None else f"a {type(found).__name__}"
        raise TransformError(f"{what} returned {received}; expected {EXPECTED}; return that")
    odd = next((name for name in named if not isinstance(name, str)), None)
    if odd is not None:
        raise TransformError(
            f"{what} returned a column with the name {odd!r}; expected texts as names; rename it"
        )
    return named


def _column(name: str, values: Any, rows: int, what: str) -> Array:
    array = _array(values)
    if array.ndim == 0 or len(array) != rows:
        received = "one value" if array.ndim == 0 else f"{len(array)} rows"
        raise TransformError(
            f"{what} returned {received} in column {name!r} for {rows} rows; expected as many rows as were given, "
            "in the same order; drop rows in the data instead, such as in data.load"
        )
    plain = _plain(array)
    if plain is None:
        example = next((value for value in array.ravel().tolist() if value is not None), None)
        held = f"a {type(example).__name__}" if array.dtype == object else f"values of type {array.dtype}"
        raise TransformError(
            f"{what} returned {held} in column {name!r}; expected numbers, truths, texts or dates, of one type in "
            "all rows; convert the column"
        )
    return plain


def _array(values: Any) -> Array:
    """As NumPy has it; a missing number is NaN, whatever a table's library calls it."""
    if hasattr(values, "to_numpy"):
        kind = str(getattr(values, "dtype", ""))
        if kind[:1] in "IUF" and not isinstance(
            getattr(values, "dtype", None), np.dtype
        ):  # Int64 and the like
            missing = getattr(values, "isna", None)
            if missing is not None and bool(missing().any()):
                return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(values.to_numpy())
    if isinstance(values, list | tuple):
        if not any(isinstance(value, str) for value in values):  # of which NumPy would make texts of all
            with contextlib.suppress(ValueError):  # rows of different lengths
                return np.array(values)
        objects = np.empty(len(values), object)
        objects[:] = values
        return objects
    return np.asarray(values)


def _plain(array: Array) -> Array | None:
    """Numbers and truths as they are, dates as ISO 8601, texts as objects; None for anything else."""
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "M":
        return _objects([None if np.isnat(one) else str(one) for one in array])
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype == object and array.ndim == 1:
        return _of_objects([None if _is_missing(value) else value for value in array.tolist()])
    return None


def _of_objects(values: list[Any]) -> Array | None:
    types = {type(value) for value in values if value is not None}
    if all(issubclass(kind, str) for kind in types):
        return _objects([None if value is None else str(value) for value in values])
    if types <= {bool, np.bool_}:
        return _objects([None if value is None else str(bool(value)).lower() for value in values])
    if all(issubclass(kind, int | float | Decimal | np.number) and kind is not bool for kind in types):
        return np.array([np.nan if value is None else float(value) for value in values])
    if all(issubclass(kind, datetime.date) for kind in types):
        return _objects([None if value is None else value.isoformat() for value in values])
    if all(issubclass(kind, list | tuple | np.ndarray) for kind in types):
        with contextlib.suppress(ValueError):  # rows of different lengths, or none
            stacked = np.array([np.asarray(value) for value in values])
            return stacked if stacked.dtype.kind in "biuf" else None
    return None


def _is_missing(value: Any) -> bool:
    """None, NaN, and what pandas calls NA and NaT; each is unequal to itself, or says it is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _objects(values: list[str | None]) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column
