"""Apache Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.models.data.cells.decision import decided, tell_digits
from tidegate.models.data.cells.facts import CellFacts
from tidegate.models.data.cells.types import CellType, column_of
from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.data.source_types import note_type
from tidegate.models.errors import FormatError
from tidegate.models.readers import INDEX, readable, rows_per_chunk, tell_index
from tidegate.models.readers.arrow_columns import (
    column_of_arrow,
    is_decimal,
    is_list,
    is_text,
    label_lists,
    largest_with_nulls,
    list_facts,
    may_lose_digits,
)
from tidegate.models.readers.lists import ListFacts, sequence_steps

ROWS = 50_000  # per chunk, or fewer if rows are large


@dataclass
class Scan:
    """What `scan` found.

    Attributes:
        index: columns that are the index of a pandas table, and are left out.
        texts: the columns that are read as strings, whatever their type.
        steps: the length of each column that is a sequence.
        cells: the types of strings that are wanted as numbers.
        labels: the columns of lists that are sets of labels.
    """

    index: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    steps: dict[str, int] = field(default_factory=dict)
    cells: dict[str, CellType] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)


def scan(files: Sequence[Path], columns: Sequence[str] | None, options: ReadOptions) -> Scan:
    """Read what types alone do not tell: the lengths of lists, and numbers that null would make inexact."""
    found, lists = Scan(), dict[str, ListFacts]()
    facts, largest = dict[str, CellFacts](), dict[str, int]()
    for path in files:
        with readable(path), _opened(path) as file:
            found.index |= set() if columns is not None else _index(file)
            for arrow in file.schema_arrow:
                name, wanted = arrow.name, options.reads_as(arrow.name, typed=True)
                if name in found.index or (columns is not None and name not in columns):
                    continue
                if wanted == "texts" and not is_list(arrow.type):
                    found.texts.add(name)
                elif is_list(arrow.type) and options.are_labels(name, is_text(arrow.type.value_type)):
                    found.labels.add(name)
                elif is_list(arrow.type):
                    list_facts(lists.setdefault(name, ListFacts()), _arrays(file, name))
                elif is_text(arrow.type) and wanted == "numbers":
                    cells = facts.setdefault(name, CellFacts())
                    for array in _arrays(file, name):
                        cells.add([value or "" for value in array.to_pylist()])
                elif not wanted and not options.by_contract and _is_inexact(file, arrow):
                    largest[name] = max(largest.get(name, 0), largest_with_nulls(_arrays(file, name)))
    for name in (name for name, value in largest.items() if value):
        tell_digits(name, largest[name])
        found.texts.add(name)
    if found.index:
        tell_index(found.index)
    where = files[0] if len(files) == 1 else files[0].parent
    found.steps, found.cells = sequence_steps(lists, options), decided(facts, options, where, (), "")
    return found


def read(path: Path, columns: Sequence[str] | None, scanned: Scan) -> Iterator[Columns]:
    """Chunks of rows. A null is NaN or None; lists of numbers are arrays or sequences."""
    with _opened(path) as file:
        names = file.schema_arrow.names
        for name in columns or ():
            if name not in names:
                raise unknown_column(name, names, "input or target")
        if file.metadata.num_rows == 0:
            raise FormatError(f"{path} has no rows; expected at least one; check its export")
        wanted = [name for name in names if name not in scanned.index] if columns is None else list(columns)
        for batch in file.iter_batches(_rows_per_chunk(file.metadata), columns=wanted):
            found = dict(zip(batch.schema.names, batch.columns, strict=True))
            yield {name: _column(path, name, found[name], scanned) for name in wanted}


def _column(path: Path, name: str, array: Any, scanned: Scan) -> Any:
    note_type(name, array.type)
    if name in scanned.cells:
        return column_of([value or "" for value in array.to_pylist()], scanned.cells[name], None)
    if name in scanned.labels:
        return label_lists(array)
    return column_of_arrow(path, name, array, name in scanned.texts, scanned.steps.get(name))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except pyarrow.ArrowException as error:
        raise FormatError(
            f"{path} is not a Parquet file: {error}; expected one; write it again, or set the right data.format"
        ) from error


def _index(file: Any) -> set[str]:
    """The columns that pandas wrote of its index; the rows' numbers are no column."""
    names = file.schema_arrow.names
    known = (file.schema_arrow.pandas_metadata or {}).get("index_columns", ())
    return {name for name in names if name in known or INDEX.fullmatch(name)}


def _is_inexact(file: Any, arrow: Any) -> bool:
    """Whether float64 could lose digits of a column, as far as its type and the counts of nulls in the file tell."""
    if not may_lose_digits(arrow.type):
        return False
    groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    counts = [chunk.statistics for chunk in chunks if chunk.path_in_schema == arrow.name]
    known = counts and all(count is not None and count.has_null_count for count in counts)
    return not known or is_decimal(arrow.type) or any(count.null_count for count in counts)


def _arrays(file: Any, name: str) -> Iterator[Any]:
    """One column, in parts."""
    for batch in file.iter_batches(_rows_per_chunk(file.metadata), columns=[name]):
        yield batch.column(0)


def _rows_per_chunk(metadata: Any) -> int:
    """Counts eight bytes for a number, however well it is compressed in the file."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    numbers = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    whole = 8 * numbers + sum(group.total_byte_size for group in groups)
    return rows_per_chunk(whole / max(1, metadata.num_rows), ROWS)
