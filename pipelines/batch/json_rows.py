"""JSON: a document with all rows, or one row per line."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tidegate.models.readers import open_text, readable
from tidegate.pipelines.batch import BatchInput, Rows, from_json, lines_in


def open_batch_input(path: Path, inputs: Sequence[dict[str, Any]], size: int) -> BatchInput:
    """The rows of a .json, or line by line of a .jsonl."""
    if path.suffix.lower() == ".json":
        return from_json(path.read_text(encoding="utf-8"), str(path), size)
    return BatchInput(_chunks(path, frozenset(entry["name"] for entry in inputs), size), lines_in(path))


def _chunks(path: Path, names: frozenset[str], size: int) -> Iterator[Rows]:
    with readable(path), open_text(path) as stream:
        numbered = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
        while part := list(islice(numbered, size)):
            yield [_row(number, line, names) for number, line in part]


def _row(number: int, line: str, names: frozenset[str]) -> Any:
    """A row as it is; one that has all inputs loses what else it has, such as the target."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {error}; expected one row per line") from error
    if isinstance(row, dict) and row.keys() > names:
        return {name: row[name] for name in names}
    return row
