"""Prepared rows on disk as shards, each an .npz file of columns; any rows can be read without the others."""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tidegate.models.data.columns import Array, Columns, concat, rows_of, save_columns
from tidegate.models.errors import FormatError

SHARD_BYTES = 32 << 20
Kept = TypeVar("Kept")


def bytes_of(columns: Columns) -> int:
    """About how much memory columns take, in bytes; a string counts its characters and Python's overhead."""
    return sum(
        sum(len(text or "") + 56 for text in column) if column.dtype == object else column.nbytes
        for column in columns.values()
    )


class ShardWriter:
    """Collects rows and writes a shard whenever there are enough.

    Args:
        folder: for the file that is being written.
        keep: moves a finished file to its final place and returns a reference to it.
        most: approximate bytes of a shard; None: SHARD_BYTES.
    """

    def __init__(self, folder: Path, keep: Callable[[Path], Kept], most: int | None = None) -> None:
        self._path, self._keep, self._most = folder / "shard.npz", keep, most or SHARD_BYTES
        self._waiting: list[Columns] = []
        self._bytes = 0
        self.kept: list[Kept] = []

    def add(self, columns: Columns) -> None:
        """Add more rows."""
        if rows_of(columns):
            self._waiting.append(columns)
            self._bytes += bytes_of(columns)
        if self._bytes >= self._most:
            self.close()

    def close(self) -> None:
        """Write the rows that are left."""
        if self._waiting:
            save_columns(self._path, concat(self._waiting))
            self._waiting, self._bytes = [], 0
            self.kept.append(self._keep(self._path))


class Shards:
    """The rows of shards, one after the other, numbered from 0.

    Args:
        paths: files from `ShardWriter`; each is open only while it is read.

    Raises:
        FormatError: a file has another format.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths, self._columns = list(paths), [_columns(path) for path in paths]
        self._ends = np.cumsum([0, *(_length(columns) for columns in self._columns)])
        self.rows = int(self._ends[-1])
        self.bytes = sum(path.stat().st_size for path in paths)

    def read(self, start: int, stop: int) -> Columns:
        """The rows from `start` up to `stop`."""
        return concat([self._read(place, rows) for place, rows in self._parts(start, stop)])

    def prefetch(self, runs: Iterable[tuple[int, int]]) -> None:
        """Have the kernel fetch rows that will be read soon; for strings only their offsets.

        Args:
            runs: pairs of first row and end row (exclusive).
        """
        wanted: dict[int, list[range]] = {}
        for start, stop in runs if hasattr(os, "posix_fadvise") else ():
            for place, rows in self._parts(start, stop):
                wanted.setdefault(place, []).append(rows)
        for place, parts in wanted.items():
            members = [column.get("") or column["offsets"] for column in self._columns[place].values()]
            with self._paths[place].open("rb", buffering=0) as file:
                for rows in parts:
                    for member in members:
                        os.posix_fadvise(file.fileno(), *member.byte_range(rows), os.POSIX_FADV_WILLNEED)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """For each shard that has some of the rows its position, and which of its own rows they are."""
        first = int(np.searchsorted(self._ends, start, "right")) - 1
        last = int(np.searchsorted(self._ends, stop, "left"))
        for place in range(first, last):
            begin = int(self._ends[place])
            yield place, range(max(0, start - begin), min(stop, int(self._ends[place + 1])) - begin)

    def _read(self, place: int, rows: range) -> Columns:
        with self._paths[place].open("rb", buffering=0) as file:
            # Without this the kernel reads far ahead, although the next read is somewhere else.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            return {name: _taken(file, parts, rows) for name, parts in self._columns[place].items()}


class Member(NamedTuple):
    """An array's position in a file: its first byte, shape and dtype."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def byte_range(self, rows: range) -> tuple[int, int]:
        """The first byte of some rows, and the number of bytes."""
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        return self.offset + rows.start * width, len(rows) * width

    def read(self, file: FileIO, rows: range) -> Array:
        """Read some rows."""
        array: Array = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if array.size:
            file.seek(self.byte_range(rows)[0])
            place, content = 0, array.reshape(-1).view(np.uint8).data
            while place < len(content):
                count = file.readinto(content[place:])
                if not count:
                    raise FormatError(
                        f"{file.name} ends within a row; expected whole rows; prepare the data again"
                    )
                place += count
        return array


def _columns(path: Path) -> dict[str, dict[str, Member]]:
    """The parts of each column: "" for numbers, those of `data.columns.pack` for strings."""
    found: dict[str, dict[str, Member]] = {}
    try:
        members = members_of(path)
        names = members.pop("names")
        with path.open("rb", buffering=0) as file:
            listed = json.loads(names.read(file, range(names.shape[0])).tobytes())
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{path} is not a shard: {error}; expected what ShardWriter writes; prepare the data again"
        ) from error
    for member, where in members.items():
        place, _, part = member.partition(".")
        found.setdefault(listed[int(place)], {})[part] = where
    return {name: found[name] for name in listed}


def _length(columns: dict[str, dict[str, Member]]) -> int:
    parts = next(iter(columns.values()))
    return (parts.get("") or parts["missing"]).shape[0]


def _taken(file: FileIO, parts: dict[str, Member], rows: range) -> Array:
    if "" in parts:
        return parts[""].read(file, rows)
    offsets = parts["offsets"].read(file, range(rows.start, rows.stop + 1)).tolist()
    content = parts["bytes"].read(file, range(offsets[0], offsets[-1])).tobytes()
    texts = np.empty(len(rows), object)
    for row, absent in enumerate(parts["missing"].read(file, rows).tolist()):
        if not absent:
            begin, end = (offsets[row + more] - offsets[0] for more in (0, 1))
            texts[row] = content[begin:end].decode("utf-8", "surrogatepass")
    return texts


def members_of(path: Path) -> dict[str, Member]:
    """The positions of the arrays in an uncompressed .npz file.

    Raises:
        ValueError, zipfile.BadZipFile: the file is not one.
    """
    found: dict[str, Member] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            # A local file header is 30 bytes, a name and an extra field, whose lengths stand in its last four bytes
            # (PKWARE, APPNOTE.TXT 6.3.10, section 4.3.7).
            stream.seek(member.header_offset + 26)
            name, extra = struct.unpack("<HH", stream.read(4))
            stream.seek(member.header_offset + 30 + name + extra)
            shape, dtype = npy_header(stream)
            found[member.filename.removesuffix(".npy")] = Member(stream.tell(), shape, dtype)
    return found


def npy_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the .npy content at the stream's position; afterwards the stream is at its values.

    Raises:
        ValueError: there is no .npy content, or its values are not stored row by row.
    """
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"its .npy format is {version}")
    shape, fortran, dtype = read[version](stream)
    if fortran and len(shape) > 1:
        raise ValueError("its values are stored column by column")
    return shape, dtype
