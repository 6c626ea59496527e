"""JSON: a document with all rows, or one row a line."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tidegate.models.readers import open_text, readable
from tidegate.pipelines.batch import Feed, Rows, lines_in, listed


def open_feed(path: Path, inputs: Sequence[dict[str, Any]], size: int) -> Feed:
    """The rows of a .json, or line by line of a .jsonl."""
    if path.suffix.lower() == ".json":
        return listed(path.read_text(encoding="utf-8"), str(path), size)
    return Feed(_chunks(path, frozenset(entry["name"] for entry in inputs), size), lines_in(path))


def _chunks(path: Path, names: frozenset[str], size: int) -> Iterator[Rows]:
    with readable(path), open_text(path) as stream:
        numbered = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
        while part := list(islice(numbered, size)):
            yield [_row(number, line, names) for number, line in part]


def _row(number: int, line: str, names: frozenset[str]) -> Any:
    """A row as it stands, less what is no input where all inputs are there (such as the target)."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {error}; expected one row a line") from error
    if isinstance(row, dict) and row.keys() > names:
        return {name: row[name] for name in names}
    return row
