"""Any format that an experiment's data may have, through the same readers; columns that are not inputs are left out."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.cells.spellings import without_zeros
from tidegate.models.data.columns import Array, Columns, as_strings, rows_of
from tidegate.models.data.item_lists import LISTS
from tidegate.models.data.read_options import CsvOptions, ReadOptions
from tidegate.models.data.sources import existing, guess_format
from tidegate.models.readers import read
from tidegate.pipelines.batch import BatchInput, Chunk, Repeatable, Rows, lines_in
from tidegate.pipelines.errors import UsageError
from tidegate.serving.inference.predictor import sample_rows

LINES = ("csv", "jsonl")


def open_batch_input(
    path: Path, inputs: Sequence[dict[str, Any]], size: int, csv: CsvOptions | None = None
) -> BatchInput:
    """The rows of a table, as the readers give them; what a column is read as is the contract's to say."""
    name = guess_format(existing(path))
    total = lines_in(path) if name in LINES else None
    options = ReadOptions(
        {entry["name"]: _read_as(entry) for entry in inputs}, csv or CsvOptions(), by_contract=True
    )
    again = Repeatable(partial(_chunks, path, name, inputs, size, options))
    return BatchInput(again, None if total is None else max(total - 1, 1))


def _read_as(entry: dict[str, Any]) -> str:
    """The kind that says how an input is read."""
    if entry["dtype"] == "str":
        return entry["kind"] if entry["kind"] in LISTS else "categorical"
    return entry["kind"] if entry["shape"] else "numeric"


def _chunks(
    path: Path, name: str, inputs: Sequence[dict[str, Any]], size: int, options: ReadOptions
) -> Iterator[Chunk]:
    for columns in read(path, name, [entry["name"] for entry in inputs], options=options):
        yield from chunks_of_columns(path, columns, inputs, size)


def chunks_of_columns(
    path: Path, columns: Columns, inputs: Sequence[dict[str, Any]], size: int
) -> Iterator[Chunk]:
    """Raw columns as rows, `size` at a time.

    Raises:
        UsageError: an input is not among the columns.
    """
    missing = [entry["name"] for entry in inputs if entry["name"] not in columns]
    if missing:
        raise UsageError(f"--input {path}: it lacks {', '.join(missing)}; it has {', '.join(columns)}")
    rows = rows_of(columns)
    for start in range(0, rows, size):
        yield Chunk(min(size, rows - start), partial(_rows, columns, inputs, start, size))


def _rows(columns: Columns, inputs: Sequence[dict[str, Any]], start: int, size: int) -> Rows:
    part = {
        entry["name"]: _conformed(columns[entry["name"]][start : start + size], entry) for entry in inputs
    }
    return sample_rows(part, size)


def _conformed(column: Array, entry: dict[str, Any]) -> Array:
    """Categories and texts as strings, as in training, whatever the file's own type is."""
    if entry["dtype"] != "str" or column.ndim > 1:
        return column
    texts, known = as_strings(column), frozenset(entry.get("categories") or ())
    if known:  # those of an older release were numbers once
        texts = np.array([without_zeros(text, known) for text in texts], object)
    return texts
