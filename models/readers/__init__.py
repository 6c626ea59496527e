"""Data readers: one format a file, found by name.

A reader is a module with `read(path, columns) -> Iterator[Columns]`: `path` is there, `columns` names the
ones wanted (None: all), and what comes back are chunks of rows with the same columns, which `columns.concat`
can join, so that data larger than memory can pass through. To add a format, write the module, add it here and
its suffixes to `models.sources.FORMATS`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from models.columns import Columns
from models.errors import FormatError, SourceError
from models.sources import check_format

READERS: dict[str, str] = {
    "npz": "models.readers.npz",
    "csv": "models.readers.csv",
    "parquet": "models.readers.parquet",
    "jsonl": "models.readers.jsonl",
    "idx": "models.readers.idx",
    "image_folder": "models.readers.image_folder",
}


def read(path: Path, name: str, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks of the rows of `path`, read as the format `name`.

    Raises:
        SourceError: no such format, or the file cannot be read.
        FormatError: the content is not what the format promises.
        SchemaError: a column of `columns` is not there.
    """
    reader = import_module(READERS[check_format(name)])
    with readable(path):
        if path.is_file() and path.stat().st_size == 0:
            raise FormatError(f"{path} is empty (0 bytes); expected rows in {name}; check how it was written")
        yield from reader.read(path, columns)


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
