"""Data readers: one format a file, found by name.

A reader is a module with `read(path, columns) -> Iterator[Columns]`: `path` is there, `columns` names the
ones wanted (None: all), and what comes back are chunks of rows with the same columns, which `columns.concat`
can join, so that data larger than memory can pass through; a chunk is some MiB, see `rows_per_chunk`. Several files of
a format that has one file, a folder of them or a pattern, are read one after the other. To add a format, write the
module, add it here and its suffixes to `data.sources.FORMATS`. A format of TILED also has an argument `tile`, see
`readers.tiles`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from tidegate.models.data.columns import Columns
from tidegate.models.data.sources import FORMATS, check_format, check_tile, files_of_format, is_pattern
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
    "boxes": "tidegate.models.readers.boxes",
}
TILED = ("boxes",)


TILED = ("boxes",)
CHUNK_BYTES = 16 << 20


def read(
    path: Path,
    name: str,
    columns: Sequence[str] | None = None,
    sample_rate: int | None = None,
    tile: int | None = None,
) -> Iterator[Columns]:
    """Chunks of the rows of `path`, read as the format `name`; recordings are to have that sample rate, in Hz.

    Images with boxes are cut into tiles of `tile` pixels where that is asked for.

    Raises:
        SourceError: no such format, one without tiles, or the file cannot be read.
        FormatError: the content is not what the format promises, or files have different columns.
        SchemaError: a column of `columns` is not there.
    """
    reader = import_module(READERS[check_format(name)])
    check_tile(tile, name in TILED, f"data.format is {name}")
    if sample_rate is not None and name != "audio_folder":
        raise SourceError(
            f"data.sample_rate is {sample_rate} and data.format is {name}; expected it of recordings only; leave it out"
        )
    if FORMATS[name] and name != "idx" and (path.is_dir() or is_pattern(path)):
        yield from _read_files(reader, path, name, columns)
    else:
        asked = {"sample_rate": sample_rate, "tile": tile}
        more = {key: value for key, value in asked.items() if value is not None}
        yield from _read_one(reader, path, name, columns, **more)


def _read_files(reader: Any, path: Path, name: str, columns: Sequence[str] | None) -> Iterator[Columns]:
    files, first = files_of_format(path, name), set[str]()
    if not files:
        raise SourceError(f"{path} is empty; expected files of the format {name}; check how it was written")
    for file in files:
        for chunk in _read_one(reader, file, name, columns):
            first = first or set(chunk)
            if set(chunk) != first:
                raise FormatError(
                    f"{file} has {_different(set(chunk), first)}, unlike {files[0].name}; expected the same columns in "
                    "each file; write it again, or leave the column out of data.inputs"
                )
            yield chunk


def _read_one(
    reader: Any, path: Path, name: str, columns: Sequence[str] | None, **more: Any
) -> Iterator[Columns]:
    with readable(path):
        if path.is_file() and path.stat().st_size == 0:
            raise FormatError(f"{path} is empty (0 bytes); expected rows in {name}; check how it was written")
        yield from reader.read(path, columns, **more)


def _different(found: set[str], expected: set[str]) -> str:
    more, less = (", ".join(sorted(names)) for names in (found - expected, expected - found))
    return " and ".join(
        words for words in (more and f"the column {more}", less and f"no column {less}") if words
    )


def rows_per_chunk(bytes_a_row: float, most: int) -> int:
    """Rows that fit into CHUNK_BYTES, at least one, at most `most`."""
    return max(1, min(most, int(CHUNK_BYTES / max(1.0, bytes_a_row))))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the operating system and the decompressor say into errors of ours that name the file."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(
            f"{path} is not a whole gzip file: {error}; expected one; compress or copy it again"
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not text in UTF-8: {error.reason} at byte {error.start}; expected UTF-8; "
            "save it as UTF-8, or state the right data.format"
        ) from error
    except IsADirectoryError as error:
        raise SourceError(f"{path} is a folder; expected a file; name the file in it") from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or error}; expected a readable file; "
            "check its permissions"
        ) from error


def open_bytes(path: Path) -> BinaryIO:
    """Open for reading, through gzip if the name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def open_text(path: Path) -> TextIO:
    """Open UTF-8 text (a byte order mark is skipped), through gzip if the name ends in .gz."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="")
