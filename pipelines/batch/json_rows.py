"""JSON: a document with all rows, or one row per line."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tidegate.models.readers import open_text, readable
from tidegate.pipelines.batch import BatchInput, Chunk, Repeatable, Rows, lines_in
from tidegate.pipelines.errors import UsageError


def open_batch_input(path: Path, inputs: Sequence[dict[str, Any]], size: int) -> BatchInput:
    """The rows of a .json, or line by line of a .jsonl."""
    if path.suffix.lower() == ".json":
        return from_json(path.read_text(encoding="utf-8-sig"), str(path), inputs, size)
    return BatchInput(Repeatable(partial(_chunks, path, inputs, size)), lines_in(path))


def from_json(text: str, where: str, inputs: Sequence[dict[str, Any]], size: int) -> BatchInput:
    """The rows of a JSON document: a list, or `{"rows": [...]}`; raises UsageError."""
    try:
        document = json.loads(text, parse_constant=_missing)
    except ValueError as error:
        raise UsageError(
            f'{where}: not JSON: {error}; expected a list of rows or {{"rows": [...]}}'
        ) from error
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise UsageError(f'{where}: received {text[:60]}; expected a list of rows or {{"rows": [...]}}')
    rows = [_row(row, inputs) for row in rows]
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return BatchInput([Chunk(len(part), partial(list, part)) for part in parts], len(rows))


def _chunks(path: Path, inputs: Sequence[dict[str, Any]], size: int) -> Iterator[Chunk]:
    with readable(path), open_text(path) as stream:
        numbered = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
        while part := list(islice(numbered, size)):
            yield Chunk(len(part), partial(_rows, part, inputs))


def _rows(part: Sequence[tuple[int, str]], inputs: Sequence[dict[str, Any]]) -> Rows:
    return [_row(_parsed(number, line), inputs) for number, line in part]


def _parsed(number: int, line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_missing)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {error}; expected one row per line") from error


def _missing(text: str) -> None:
    """NaN and infinities are missing values, as they are to the readers."""


def _row(row: Any, inputs: Sequence[dict[str, Any]]) -> Any:
    """A row as it is; one that has all inputs loses what else it has, such as the target, and padding."""
    if not isinstance(row, dict) or any(entry["name"] not in row for entry in inputs):
        return row
    return {entry["name"]: _value(row[entry["name"]], entry) for entry in inputs}


def _value(value: Any, entry: dict[str, Any]) -> Any:
    if entry["kind"] != "sequence" or not isinstance(value, list):
        return value
    steps = next((place for place in range(len(value), 0, -1) if value[place - 1] is not None), 0)
    return value[:steps]
