"""Comma-separated text with a header line; also .gz, and tabs or semicolons if the header has no comma.

A column holds numbers if every non-empty cell in the whole file is a number, otherwise strings. An empty cell is a
missing value: NaN or None.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text

ROWS = 50_000  # per chunk, or fewer if a row has many cells
CELLS = 1_000_000
INTEGER, FLOAT, STRING = 0, 1, 2
LARGEST_CELL = 2**27  # characters; the csv module's limit of 128 Ki is too small for long texts


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks of rows; the file is read twice, the first time for the types, so that memory holds one chunk."""
    header = _header(path)
    wanted = header if columns is None else list(columns)
    places = {name: _place(name, header) for name in wanted}
    types = _types(path, len(header), places)
    for rows in _chunks(path, len(header)):
        cells = list(zip(*rows, strict=True))
        yield {name: _column(cells[place], types[name]) for name, place in places.items()}


def _header(path: Path) -> list[str]:
    names = [name.strip() for name in next(_lines(path))[1]]
    unnamed = next((place for place, name in enumerate(names, 1) if not name), None)
    if unnamed is not None:
        raise FormatError(
            f"{path}: column {unnamed} of the header line has no name; expected a name for each column; "
            "add it, or write the file without an index column"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormatError(f"{path}: the header has {twice!r} twice; expected distinct names; rename one")
    return names


def _place(name: str, header: list[str]) -> int:
    if name not in header:
        raise unknown_column(name, header, "input or target")
    return header.index(name)


def _types(path: Path, width: int, places: dict[str, int]) -> dict[str, int]:
    types, counted = dict.fromkeys(places, INTEGER), 0
    for rows in _chunks(path, width):
        cells = list(zip(*rows, strict=True))
        counted += len(rows)
        types = {name: _type(cells[place], types[name]) for name, place in places.items()}
    if counted == 0:
        raise FormatError(
            f"{path} has a header line and no rows; expected at least one row; check its export"
        )
    return types


def _type(cells: Sequence[str], known: int) -> int:
    """The narrowest type, not below `known`, that holds all cells."""
    if known == STRING:
        return STRING
    try:
        if known == INTEGER and all(-(2**63) <= int(cell) < 2**63 for cell in cells):
            return INTEGER if "_" not in "".join(cells) else STRING
    except ValueError:
        pass
    try:
        for cell in cells:
            if cell and not cell.isspace():
                float(cell)
    except ValueError:
        return STRING
    return FLOAT if "_" not in "".join(cells) else STRING  # only Python reads 1_000 as a number


def _column(cells: Sequence[str], kind: int) -> Array:
    if kind == INTEGER:
        return np.array([int(cell) for cell in cells], np.int64)
    if kind == FLOAT:
        return np.array([float(cell) if cell and not cell.isspace() else math.nan for cell in cells])
    texts = np.empty(len(cells), object)
    texts[:] = [cell if cell and not cell.isspace() else None for cell in cells]
    return texts


def _chunks(path: Path, width: int) -> Iterator[list[list[str]]]:
    lines, size = _lines(path), max(1, min(ROWS, CELLS // width))
    next(lines)
    while rows := [_checked(path, number, row, width) for number, row in islice(lines, size)]:
        yield rows


def _checked(path: Path, number: int, row: list[str], width: int) -> list[str]:
    if len(row) != width:
        raise FormatError(
            f"{path}, line {number} has {len(row)} cells; expected {width}, as in the header line; "
            "correct the line, and quote cells that contain a separator"
        )
    return row


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of the header and of every row; empty lines are skipped."""
    csv.field_size_limit(LARGEST_CELL)
    with open_text(path) as stream:
        first = stream.readline()
        stream.seek(0)
        separator = next((mark for mark in ",\t;" if mark in first), ",")
        if "\0" in first:
            raise FormatError(f"{path} is not text; expected CSV; set the right data.format")
        reader = csv.reader(stream, delimiter=separator, strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise FormatError(
                f"{path}, line {reader.line_num}: {error}; expected cells separated by {separator!r}, quoted "
                'with "; correct the line'
            ) from error
