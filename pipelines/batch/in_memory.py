"""Rows that a program holds: objects, columns, arrays, or a table of pandas, Polars or pyarrow."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

from tidegate.pipelines.batch import BatchInput, Chunk
from tidegate.pipelines.errors import UsageError

EXPECTED = (
    'expected a list of rows such as [{"age": 33}], columns such as {"age": [33, 41]}, a NumPy array, or a table of '
    "pandas, Polars or pyarrow"
)


def open_batch_input(rows: Any, inputs: Sequence[dict[str, Any]], size: int) -> BatchInput:
    """Rows in memory as rows of requests; columns that are no inputs, such as the target, are left out.

    Args:
        rows: a list of objects `{input name: value}`, or of bare values where there is one input; columns as
            `{input name: values}`; a NumPy array, one entry a row; a table that gives Arrow's C stream.
        inputs: the contract's inputs.
        size: rows in a chunk.

    Raises:
        UsageError: it is none of these, or columns have different lengths.
    """
    if hasattr(rows, "__arrow_c_stream__"):
        found = _of_table(rows, size)
    elif isinstance(rows, Mapping):
        found = _of_columns(rows)
    elif hasattr(rows, "__array__"):
        found = iter(rows.tolist())
    elif isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        found = iter(rows)
    else:
        raise UsageError(f"the rows are a {type(rows).__name__}; {EXPECTED}")
    names = [entry["name"] for entry in inputs]
    return BatchInput(_chunks((_row(row, names) for row in found), size))


def _chunks(rows: Iterator[Any], size: int) -> Iterator[Chunk]:
    while part := list(islice(rows, size)):
        yield Chunk(len(part), partial(list, part))


def _of_table(table: Any, size: int) -> Iterator[dict[str, Any]]:
    """Rows of a table, a piece at a time, so that few are Python objects at once."""
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError(
            f"the rows are a {type(table).__name__}, and pyarrow, which reads it, is not installed here; install "
            "pyarrow, or give a list of rows"
        ) from error
    read = pyarrow.table(table)
    for start in range(0, read.num_rows, size):
        yield from read.slice(start, size).to_pylist()


def _of_columns(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    lists = {name: _listed(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UsageError(f"the columns have different lengths: {told}; expected one value a row in each")
    return (dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True))


def _listed(name: str, values: Any) -> Sequence[Any]:
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise UsageError(
            f"the column {name} is {values!r}"[:100]
            + f"; {EXPECTED}; one row alone is a list of one: [{{…}}]"
        )
    return values


def _row(row: Any, names: Sequence[str]) -> Any:
    """A row as JSON has it; of an object that has all inputs only these."""
    if isinstance(row, Mapping) and all(name in row for name in names):
        return {name: _value(row[name]) for name in names}
    return _value(row)


def _value(value: Any) -> Any:
    """A value as JSON has it: what NumPy, dates and decimals are elsewhere; a missing one is null."""
    if isinstance(value, Mapping):
        return {str(name): _value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_value(inner) for inner in value]
    if hasattr(value, "tolist"):  # an array, or one of NumPy's numbers
        return _value(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):  # a datetime too; pandas' NaT is one, and no date
        return value.isoformat() if value == value else None
    return value
