"""Comma-separated text with a header line; also .gz, other delimiters, decimal commas and other encodings.

A column holds numbers if every cell in all files is a number or stands for a missing one, otherwise strings. An empty
cell is a missing value: NaN or None. The dialect is found out from the files (`readers.csv_dialect`) and told where it
is not the usual one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tidegate.models.data.cells.decision import decided
from tidegate.models.data.cells.facts import CellFacts
from tidegate.models.data.cells.types import CellType, column_of
from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.errors import FormatError
from tidegate.models.readers import INDEX, readable, tell_index
from tidegate.models.readers.csv_dialect import CsvDialect, described, sniffed

ROWS = 50_000  # per chunk, or fewer if a row has many cells
CELLS = 1_000_000


@dataclass(frozen=True)
class Scan:
    """What `scan` found: the dialect of each file, and the types of the columns of all together."""

    dialects: dict[Path, CsvDialect]
    types: dict[str, CellType]
    missing: tuple[str, ...] | None


def scan(files: Sequence[Path], columns: Sequence[str] | None, options: ReadOptions) -> Scan:
    """Read all cells once, for the types of the columns."""
    dialects, facts, found = dict[Path, CsvDialect](), dict[str, CellFacts](), list[str]()
    for file in files:
        with readable(file), _in_encoding(file, options.csv.encoding):
            dialects[file] = dialect = sniffed(file, options.csv)
            found += [words for words in described(file, dialect, options.csv) if words not in found]
            _collect(file, dialect, columns, options, facts)
    where = files[0] if len(files) == 1 else files[0].parent
    delimiter = dialects[files[0]].delimiter
    return Scan(dialects, decided(facts, options, where, found, delimiter), options.csv.missing)


@contextmanager
def _in_encoding(file: Path, stated: str | None) -> Iterator[None]:
    """Bytes that are not in the stated encoding; without one, it is found out so that all are."""
    try:
        yield
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}: {error.reason}"
        raise FormatError(
            f"{file} is not in the encoding {stated}, {byte}; expected what data.csv.encoding says; set it to what the "
            "file is written in, such as utf-8, cp1252, cp1250, cp1251 or shift_jis, or leave it out"
        ) from error


def read(path: Path, columns: Sequence[str] | None, scanned: Scan) -> Iterator[Columns]:
    """Chunks of rows, so that memory holds one chunk."""
    dialect = scanned.dialects[path]
    places = _places(path, dialect, columns)
    for rows in _chunks(path, dialect):
        cells = list(zip(*rows, strict=True))
        yield {
            name: column_of(cells[place], scanned.types[name], scanned.missing)
            for name, place in places.items()
        }


def _collect(
    path: Path,
    dialect: CsvDialect,
    columns: Sequence[str] | None,
    options: ReadOptions,
    facts: dict[str, CellFacts],
) -> None:
    counted = 0
    places = _places(path, dialect, columns)
    index = [] if columns is not None else [name for name in dialect.header(path) if INDEX.fullmatch(name)]
    if index:
        tell_index(index)
    for name in places:
        facts.setdefault(name, CellFacts(options.csv.missing))
    typed = {name: place for name, place in places.items() if options.reads_as(name) != "texts"}
    for rows in _chunks(path, dialect):
        cells = list(zip(*rows, strict=True))
        counted += len(rows)
        for name, place in typed.items():
            facts[name].add(cells[place])
    if counted == 0:
        raise FormatError(
            f"{path} has a header line and no rows; expected at least one row; check its export"
        )


def _places(path: Path, dialect: CsvDialect, columns: Sequence[str] | None) -> dict[str, int]:
    """The place of each column that is wanted."""
    header = dialect.header(path)
    if columns is None:
        _check_header(path, header)
        columns = [name for name in header if not INDEX.fullmatch(name)]
    for name in columns:
        if name not in header:
            raise unknown_column(name, header, "input or target")
        if header.count(name) > 1:
            raise _twice(path, name)
    return {name: header.index(name) for name in columns}


def _check_header(path: Path, names: list[str]) -> None:
    unnamed = next((place for place, name in enumerate(names, 1) if not name), None)
    if unnamed is not None:
        raise FormatError(
            f"{path}: column {unnamed} of the header line has no name; expected a name for each column; "
            "add it, write the file without an index column, or state data.inputs"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _twice(path, twice)


def _twice(path: Path, name: str) -> FormatError:
    return FormatError(f"{path}: the header has {name!r} twice; expected distinct names; rename one")


def _chunks(path: Path, dialect: CsvDialect) -> Iterator[list[list[str]]]:
    lines = dialect.rows(path)
    width = len(next(lines)[1])
    size = max(1, min(ROWS, CELLS // width))
    while rows := [_checked(path, number, row, width) for number, row in islice(lines, size)]:
        yield rows


def _checked(path: Path, number: int, row: list[str], width: int) -> list[str]:
    if len(row) != width:
        raise FormatError(
            f"{path}, line {number} has {len(row)} cells; expected {width}, as in the header line; "
            "correct the line, and quote cells that contain a separator"
        )
    return row
