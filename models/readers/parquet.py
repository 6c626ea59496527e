"""Apache Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.errors import FormatError
from tidegate.models.readers import INDEX, readable, rows_per_chunk
from tidegate.models.readers.arrow_columns import is_decimal, may_lose_digits
from tidegate.models.readers.own.arrow_scan import ArrowFacts, Scan, column_as_scanned

ROWS = 50_000  # per chunk, or fewer if rows are large


def scan(files: Sequence[Path], columns: Sequence[str] | None, options: ReadOptions) -> Scan:
    """Read what types alone do not tell: the lengths of lists, and numbers that null would make inexact."""
    facts = ArrowFacts(options)
    for path in files:
        with readable(path), _opened(path) as file:
            facts.index.update(set() if columns is not None else _index(file))
            for arrow in file.schema_arrow:
                name = arrow.name
                if name not in facts.index and (columns is None or name in columns):
                    facts.add(name, arrow.type, _arrays(file, name), _is_inexact(file, arrow))
    return facts.scan(files[0] if len(files) == 1 else files[0].parent)


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
            yield {name: column_as_scanned(path, name, found[name], scanned) for name in wanted}


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
