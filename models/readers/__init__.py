"""Data readers: one module per format, found by name.

A reader is a module with `read(path, columns) -> Iterator[Columns]`: `path` exists, `columns` names the columns to
read (None: all), and the result is chunks of rows with the same columns, which `columns.concat` can join. A chunk has
a few MiB, see `rows_per_chunk`, so that data larger than memory can be read. The files of a folder or of a pattern are
read one after the other. To add a format, write the module, add it to READERS and its suffixes to
`data.sources.FORMATS`. The reader of a format in TILED also has an argument `tile`, see `readers.tiles`.

That of a format in SCANNED has `scan(files, columns, options)` too, which reads all files for the types of the columns;
`read` has its result as the last argument.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from tidegate.models.data.columns import Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.read_options import CsvOptions, ReadOptions
from tidegate.models.data.sources import (
    FORMATS,
    check_format,
    check_tile,
    files_of_format,
    format_of_name,
    is_pattern,
)
from tidegate.models.errors import FormatError, SourceError

READERS: dict[str, str] = {
    "npz": "tidegate.models.readers.npz",
    "csv": "tidegate.models.readers.csv",
    "parquet": "tidegate.models.readers.parquet",
    "jsonl": "tidegate.models.readers.jsonl",
    "idx": "tidegate.models.readers.idx",
    "tfrecord": "tidegate.models.readers.tfrecord",
    "image_folder": "tidegate.models.readers.image_folder",
    "audio_folder": "tidegate.models.readers.audio_folder",
    "text_folder": "tidegate.models.readers.text_folder",
    "boxes": "tidegate.models.readers.boxes",
    "masks": "tidegate.models.readers.masks",
}
TILED = ("boxes",)
SCANNED = ("csv", "parquet", "jsonl", "npz")
CHUNK_BYTES = 16 << 20
INDEX = re.compile(
    r"__index_level_\d+__|Unnamed: \d+"
)  # what pandas calls an index that it wrote or read without a name


def read(
    path: Path,
    name: str,
    columns: Sequence[str] | None = None,
    sample_rate: int | None = None,
    tile: int | None = None,
    options: ReadOptions | None = None,
) -> Iterator[Columns]:
    """The rows of `path` in chunks.

    Args:
        path: a file, a folder or a pattern.
        name: the format, a key of READERS.
        columns: the columns to read; None means all.
        sample_rate: the one that recordings must have, in Hz; None: any.
        tile: height and width in pixels of the tiles that images with boxes are cut into; None: no tiles.
        options: as what columns are read, and the dialect of CSV.

    Raises:
        SourceError: an unknown format, one without tiles, or the file cannot be read.
        FormatError: the content does not match the format, or files have different columns.
        SchemaError: a column of `columns` does not exist.
    """
    reader = import_module(READERS[check_format(name)])
    check_tile(tile, name in TILED, f"data.format is {name}")
    if sample_rate is not None and name != "audio_folder":
        raise SourceError(
            f"data.sample_rate is {sample_rate} and data.format is {name}; expected it only for recordings; "
            "leave it out"
        )
    options = options or ReadOptions()
    if options.csv != CsvOptions() and name != "csv":
        raise SourceError(
            f"data.csv is stated and {path.name} is {name}; expected it only for CSV; leave it out"
        )
    several = FORMATS[name] and name != "idx" and (path.is_dir() or is_pattern(path))
    files = _files(path, name) if several else [path]
    for file in files:
        _check_size(file, name)
    more: dict[str, Any] = {"sample_rate": sample_rate, "tile": tile}
    stated = {key: value for key, value in more.items() if value is not None}
    together = [*files, *(one for one in _with_files(name, options) if one not in files)]
    scanned = [_scanned(reader, name, sorted(together), columns, options)] if name in SCANNED else []
    first = set[str]()
    for file in files:
        with readable(file):
            for chunk in reader.read(file, columns, *scanned, **stated):
                first = first or set(chunk)
                if set(chunk) != first:
                    raise FormatError(
                        f"{file} has {_different(set(chunk), first)}, unlike {files[0].name}; expected the same "
                        "columns in all files; write it again, or leave the column out of data.inputs"
                    )
                yield chunk


def _with_files(name: str, options: ReadOptions) -> Iterator[Path]:
    """The other files of the data that have the same format."""
    for path in options.with_files:
        for file in files_of_format(path, name) if path.is_dir() or is_pattern(path) else [path]:
            if format_of_name(file.name) in (name, None):
                yield file


def _scanned(
    reader: Any, name: str, files: Sequence[Path], columns: Sequence[str] | None, options: ReadOptions
) -> Any:
    key = (name, tuple(files), None if columns is None else tuple(columns))
    if key not in options.scans:
        options.scans[key] = reader.scan(files, columns, options)
    return options.scans[key]


def _files(path: Path, name: str) -> list[Path]:
    files = files_of_format(path, name)
    if not files:
        raise SourceError(f"{path} is empty; expected files in the format {name}; check how it was written")
    return files


def _check_size(path: Path, name: str) -> None:
    with readable(path):
        if path.is_file() and path.stat().st_size == 0:
            raise FormatError(f"{path} is empty (0 bytes); expected rows in {name}; check how it was written")


def _different(found: set[str], expected: set[str]) -> str:
    more, less = (", ".join(sorted(names)) for names in (found - expected, expected - found))
    return " and ".join(
        words for words in (more and f"the column {more}", less and f"no column {less}") if words
    )


def rows_per_chunk(bytes_per_row: float, most: int) -> int:
    """The number of rows that fit into CHUNK_BYTES, at least one, at most `most`."""
    return max(1, min(most, int(CHUNK_BYTES / max(1.0, bytes_per_row))))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors of the operating system and the decompressor into our own, which name the file."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(
            f"{path} is not a complete gzip file: {error}; expected one; compress or copy it again"
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}; expected UTF-8; "
            "save it as UTF-8, or set the right data.format"
        ) from error
    except IsADirectoryError as error:
        raise SourceError(f"{path} is a folder; expected a file; name one of its files") from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or error}; expected a readable file; "
            "check its permissions"
        ) from error


def tell_index(names: Iterable[str]) -> None:
    """Tell that the index of a pandas table is left out."""
    tell(
        f"{', '.join(sorted(names))}: the index of a pandas table, left out; to learn from it, name it in data.inputs"
    )


def open_bytes(path: Path) -> BinaryIO:
    """Open for reading, through gzip if the name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def open_text(path: Path) -> TextIO:
    """Open UTF-8 text (a byte order mark is skipped), through gzip if the name ends in .gz."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="")
