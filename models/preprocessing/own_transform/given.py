"""What a transform of the user's own is called with: raw columns in the types that they had in the source.

A table has the types that `pandas.read_parquet` gives, a dict those of NumPy. They are the same for the rows
of the data and for one row of a request.

| Arrow's type       | pandas                            | a dict of NumPy           |
|--------------------|-----------------------------------|---------------------------|
| timestamp          | datetime64 of that unit and zone  | datetime64, UTC           |
| date               | datetime.date                     | datetime64[D]             |
| decimal            | decimal.Decimal                   | float64                   |
| dictionary of text | category, as known from the data  | str or None, as objects   |
| bool with nulls    | True, False, None                 | True, False, None         |
| text               | str                               | str or None, as objects   |
| anything else      | as NumPy has it                   | as NumPy has it           |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.dates import YEAR_FIRST, seconds_of

Takes = Literal["numpy", "pandas", "polars", "pyarrow"]
TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, tz=(.+))?\]")
DATE = re.compile(r"date(?:32|64)\[.*\]")
DECIMAL = re.compile(r"decimal\d+\(\d+, (-?\d+)\)")
PLAIN_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?")


class RawColumn(BaseModel):
    """A raw column that a transform is given.

    Attributes:
        name: of the column.
        type: in the source, as Arrow names it; "" where it is not known, or is what NumPy has.
        format: of dates, see `data.dates`.
        categories: of texts that repeat, as known from the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str = ""
    format: str | None = None
    categories: tuple[str, ...] = ()


def given(takes: Takes, raw: Sequence[RawColumn], columns: Columns) -> Any:
    """Raw columns as a dict of arrays or as a table; a copy, which the function may change.

    Args:
        takes: which of them.
        raw: the columns to give, in this order.
        columns: as readers and requests have them.
    """
    if takes == "numpy":
        return {column.name: _array(column, columns[column.name]) for column in raw}
    import pandas

    table = pandas.DataFrame({column.name: _series(pandas, column, columns[column.name]) for column in raw})
    if takes == "polars":
        import polars

        return polars.from_pandas(table)
    if takes == "pyarrow":
        import pyarrow

        return pyarrow.Table.from_pandas(table, preserve_index=False)
    return table


def _array(raw: RawColumn, column: Array) -> Array:
    if match := TIMESTAMP.fullmatch(raw.type):
        return _moments(column, match[1], raw.format)
    if DATE.fullmatch(raw.type):
        return _moments(column, "s", raw.format).astype("datetime64[D]")
    return _truths(column) if raw.type == "bool" else column.copy()


def _series(pandas: Any, raw: RawColumn, column: Array) -> Any:
    if match := TIMESTAMP.fullmatch(raw.type):
        moments = pandas.Series(_moments(column, match[1], raw.format))
        return moments.dt.tz_localize("UTC").dt.tz_convert(match[2]) if match[2] else moments
    if DATE.fullmatch(raw.type):
        days = _moments(column, "s", raw.format).astype("datetime64[D]").astype(object)
        return pandas.Series(days, dtype=object)
    if match := DECIMAL.fullmatch(raw.type):
        return pandas.Series(_decimals(column, int(match[1])), dtype=object)
    if raw.type.startswith("dictionary") and raw.categories:
        return pandas.Series(pandas.Categorical(column, categories=list(raw.categories)))
    if raw.type == "bool":
        return pandas.Series(_truths(column))
    if column.dtype == object:
        return pandas.Series(column, dtype=_text_dtype(pandas))
    return pandas.Series(list(column) if column.ndim > 1 else column)


def _text_dtype(pandas: Any) -> Any:
    """What this version of pandas holds strings in."""
    return pandas.Series(["text"]).dtype


def _moments(column: Array, unit: str, written: str | None) -> Array:
    """Texts as datetime64 of a unit, in UTC where they have a zone; NaT for a missing one."""
    texts = ["NaT" if text is None else text.strip().removesuffix("Z") for text in column.tolist()]
    if not all(text == "NaT" or PLAIN_DATE.fullmatch(text) for text in texts):
        texts = [_plain(text, written or YEAR_FIRST) for text in column.tolist()]
    return np.array([text.replace(" ", "T") for text in texts], f"datetime64[{unit}]")


def _plain(text: str | None, written: str) -> str:
    """A date, however it is written, as NumPy reads it, in UTC."""
    if text is None:
        return "NaT"
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        stamp = seconds_of(text, written)
        return "NaT" if stamp is None else str(np.datetime64(round(stamp * 1e6), "us"))
    return (found.astimezone(UTC) if found.tzinfo else found).replace(tzinfo=None).isoformat()


def _decimals(column: Array, scale: int) -> Array:
    found = np.empty(len(column), object)
    for row, value in enumerate(column.tolist()):
        if isinstance(value, str):
            found[row] = Decimal(value)
        elif value is not None and np.isfinite(value):
            found[row] = Decimal(f"{value:.{max(scale, 0)}f}")
    return found


def _truths(column: Array) -> Array:
    """Truths; as objects where one is missing, which readers make texts of."""
    if column.dtype != object:
        return column.copy()
    found = np.empty(len(column), object)
    found[:] = [None if text is None else text in ("true", "True") for text in column.tolist()]
    return found
