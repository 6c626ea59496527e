"""JSON Lines: one object per line, whose keys are the columns; nested lists of numbers are arrays or sequences.

A missing key, or null, is a missing value. All rows of a column have the same type: numbers, booleans, strings, or
lists of numbers. Lists of one shape are arrays; lists of their own lengths are sequences. Lists of texts are read
where a kind says what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.cells.decision import decided, tell_digits
from tidegate.models.data.cells.facts import EXACT, CellFacts
from tidegate.models.data.cells.types import CellType, column_of
from tidegate.models.data.columns import Array, Columns, text_of, unknown_column
from tidegate.models.data.item_lists import EXAMPLE, items_text
from tidegate.models.data.label_lists import list_text
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.data.sources import file_bytes
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text, readable, rows_per_chunk
from tidegate.models.readers.lists import HOW, ListFacts, as_array, padded_lists, sequence_steps

ROWS = 10_000  # per chunk, or fewer if rows are large
GROWTH = 8  # bytes in memory, as Python objects, per byte of a line
TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "list"}


@dataclass
class Scan:
    """What `scan` found.

    Attributes:
        rows: of each file.
        types: of each column: "boolean", "number", "string", "list", or "" if it has no value.
        texts: the columns that are read as strings, whatever their type.
        steps: the length of each column that is a sequence.
        cells: the types of strings that are wanted as numbers.
        labels: the columns of lists that are sets of labels.
        items: the columns of lists that are tokens, ids or tags.
    """

    rows: dict[Path, int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    steps: dict[str, int] = field(default_factory=dict)
    cells: dict[str, CellType] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)


def scan(files: Sequence[Path], columns: Sequence[str] | None, options: ReadOptions) -> Scan:
    """Read all lines once, for the names and types of the columns."""
    scanner = _Scanner(columns, options)
    for file in files:
        with readable(file):
            scanner.add(file)
    return scanner.found(files[0] if len(files) == 1 else files[0].parent)


def read(path: Path, columns: Sequence[str] | None, scanned: Scan) -> Iterator[Columns]:
    """Chunks of rows."""
    wanted = list(scanned.types) if columns is None else columns
    lines, size = _lines(path), rows_per_chunk(GROWTH * file_bytes(path) / scanned.rows[path], ROWS)
    while rows := list(islice(lines, size)):
        yield {name: _column(path, name, scanned, rows) for name in wanted}


class _Scanner:
    def __init__(self, columns: Sequence[str] | None, options: ReadOptions) -> None:
        self._columns, self._options = columns, options
        self._wanted = None if columns is None else frozenset(columns)
        self._result = Scan()
        self._lists: dict[str, ListFacts] = {}
        self._facts: dict[str, CellFacts] = {}
        self._values: dict[str, int] = {}
        self._largest: dict[str, int] = {}
        self._fractions: set[str] = set()

    def add(self, path: Path) -> None:
        """Read one file."""
        names = set[str]()
        count = 0
        for number, row in _lines(path):
            count += 1
            names.update(row)
            for name, value in row.items():
                if self._wanted is None or name in self._wanted:
                    self._add(path, number, name, value)
        if not names:
            raise FormatError(f"{path} has no rows; expected one JSON object per line; check its export")
        for name in self._columns or ():
            if name not in names:
                raise unknown_column(name, sorted(names), "input or target")
        self._result.rows[path] = count

    def _add(self, path: Path, number: int, name: str, value: Any) -> None:
        types = self._result.types
        if value is None:
            types.setdefault(name, "")
            return
        known, found = types.get(name) or "", TYPES.get(type(value), "object")
        texts = self._options.reads_as(name, typed=True) == "texts" and "list" not in (known, found)
        if found == "object" or (known and found != known and not texts):
            expected = f"{_article(known)}, as in the lines before" if known else "a number, string or list"
            fix = (
                "correct the line, state kind: categorical for texts"
                if {known, found} == {"number", "string"}
                else "correct the line"
            )
            raise FormatError(
                f"{path}, line {number}: {name!r} is {_article(found)}; expected {expected}; "
                f"{fix}, or flatten the object into separate keys"
            )
        types[name] = found
        self._values[name] = self._values.get(name, 0) + 1
        if found == "list" and self._options.are_items(name):
            self._result.items.add(name)
        elif found == "list":
            if self._options.are_labels(name, bool(value) and isinstance(value[0], str)):
                self._result.labels.add(name)
            self._lists.setdefault(name, ListFacts()).add(value)
        elif found == "number":
            self._add_number(name, value)
        elif found == "string" and self._options.reads_as(name) == "numbers":
            self._facts.setdefault(name, CellFacts()).add([value])

    def _add_number(self, name: str, value: float) -> None:
        if isinstance(value, float):
            self._fractions.add(name)
        elif abs(value) > EXACT:
            self._largest[name] = max(abs(value), self._largest.get(name, 0))

    def found(self, where: Path) -> Scan:
        """What all files are."""
        result, options = self._result, self._options
        result.texts = {
            name for name, kind in result.types.items() if options.reads_as(name, typed=True) == "texts"
        }
        rows = sum(result.rows.values())
        for name, largest in self._largest.items():
            absent = self._values[name] < rows
            exact = name in self._fractions or (largest < 2**63 and not absent)
            if not exact and not options.reads_as(name) and not options.by_contract:
                tell_digits(name, largest)
                result.texts.add(name)
        arrays = {name: facts for name, facts in self._lists.items() if name not in result.labels}
        result.steps = sequence_steps(arrays, options)
        result.cells = decided(self._facts, options, where, (), "")
        return result


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


def _column(path: Path, name: str, scanned: Scan, rows: list[tuple[int, dict[str, Any]]]) -> Array:
    values, kind = [row.get(name) for _, row in rows], scanned.types[name]
    if name in scanned.labels:
        return _labels(path, name, rows)
    if name in scanned.items:
        return _items(path, name, rows)
    if kind == "list":
        return _arrays(path, name, rows, scanned.steps.get(name))
    if name in scanned.cells:
        return column_of([value or "" for value in values], scanned.cells[name], None)
    if name in scanned.texts or kind == "string" or (kind == "boolean" and None in values):
        texts = np.empty(len(values), object)
        texts[:] = [None if value is None else text_of(value) for value in values]
        return texts
    if kind in ("number", ""):
        return _numbers(path, name, values)
    return np.array(values, np.bool_)


def _labels(path: Path, name: str, rows: list[tuple[int, dict[str, Any]]]) -> Array:
    texts = np.empty(len(rows), object)
    for place, (number, row) in enumerate(rows):
        value = row.get(name)
        if value is not None and not all(isinstance(one, str | int | float) for one in value):
            raise FormatError(
                f"{path}, line {number}: {name!r} is no list of labels; expected a list of texts or numbers, such as "
                '["a", "b"] or []; correct the line'
            )
        texts[place] = None if value is None else list_text(value)
    return texts


def _items(path: Path, name: str, rows: list[tuple[int, dict[str, Any]]]) -> Array:
    texts = np.empty(len(rows), object)
    for place, (number, row) in enumerate(rows):
        value = row.get(name)
        try:
            texts[place] = None if value is None else items_text(value)
        except ValueError as error:
            raise FormatError(
                f"{path}, line {number}: {name!r} is a list with {json.dumps(error.args[0])[:40]} in it; expected "
                f"texts or whole numbers, {EXAMPLE}; correct the line"
            ) from error
    return texts


def _numbers(path: Path, name: str, values: list[Any]) -> Array:
    try:
        whole = all(isinstance(value, int) for value in values)
        return np.array(values, np.int64 if whole else np.float64)
    except OverflowError as error:
        raise FormatError(
            f"{path}: {name!r} holds a number beyond 64 bits; expected int64 or float64; write it as a string"
        ) from error


def _arrays(path: Path, name: str, rows: list[tuple[int, dict[str, Any]]], steps: int | None) -> Array:
    arrays: list[Array | None] = []
    shape: tuple[int, ...] | None = None
    for number, row in rows:
        value = row.get(name)
        array = None if value is None or (value == [] and steps) else _array(path, number, name, value, steps)
        if array is not None:
            found = array.shape if steps is None else array.shape[1:]
            if shape not in (None, found):
                raise FormatError(
                    f"{path}, line {number}: {name!r} has shape {found}; expected {shape}, as in the lines "
                    f"before; pad or crop the rows to one shape: {HOW}"
                )
            shape = found
        arrays.append(array)
    if steps is not None:
        return padded_lists(arrays, steps)
    blank = np.full(shape or (), np.nan)
    return np.stack([blank if array is None else array for array in arrays])


def _array(path: Path, number: int, name: str, value: list[Any], steps: int | None) -> Array:
    array = as_array(value)
    if array is not None and (steps is not None or None not in value):
        return array
    raise FormatError(
        f"{path}, line {number}: {name!r} is not a regular list of numbers; expected a list such as [1.5, 2] or "
        f"[[1, 2], [3, 4]]; {HOW}; of texts state {{name: {name}, kind: tokens}}, or ids where their order means "
        "nothing"
    )


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "object" else kind if kind == "null" else f"a {kind}"
