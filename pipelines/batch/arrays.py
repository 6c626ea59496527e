"""NumPy's .npy and .npz, read chunk by chunk: the array itself is never whole in memory. Never a pickle."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tidegate.models.data.columns import Array, Columns
from tidegate.models.readers import readable
from tidegate.pipelines.batch import Feed, Rows, tables
from tidegate.pipelines.errors import UsageError

NUMBERS = "biuf"


def open_feed(path: Path, inputs: Sequence[dict[str, Any]], size: int) -> Feed:
    """The rows of an array file.

    A .npy holds the one input, or a number a column in the order of the inputs; a .npz an array an input.

    Raises:
        UsageError: the arrays are not those of the inputs.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            head = _Head.read(stream)
        if not head.streams:
            raise UsageError(f"--input {path}: it holds {head.dtype}; expected numbers in C order")
        return Feed(_of_one(path, head, inputs, size), head.rows)
    members = _members(path, [entry["name"] for entry in inputs])
    if members is None:  # texts, or arrays in Fortran order: the reader knows them all
        return tables.open_feed(path, inputs, size)
    lengths = {name: head.rows for name, head in members.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UsageError(
            f"--input {path}: arrays have different lengths: {told}; expected one entry a row in each"
        )
    return Feed(_of_many(path, members, inputs, size), next(iter(lengths.values())))


@dataclass(frozen=True)
class _Head:
    """What stands before an array's numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @classmethod
    def read(cls, stream: IO[bytes]) -> "_Head":
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"it is of .npy version {version}; expected 1.0 or 2.0; save it again")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        return cls(shape, dtype, fortran)

    @property
    def streams(self) -> bool:
        return self.dtype.kind in NUMBERS and bool(self.shape) and (not self.fortran or len(self.shape) == 1)

    @property
    def rows(self) -> int:
        return self.shape[0]

    def take(self, stream: IO[bytes], count: int) -> Array:
        """The next `count` rows."""
        width = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        content = stream.read(count * width)
        if len(content) < count * width:
            raise ValueError(
                "the file ends before its last row; expected a whole one; write or copy it again"
            )
        array = np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])
        return array.astype(self.dtype.newbyteorder("="), copy=False)


def _of_one(path: Path, head: _Head, inputs: Sequence[dict[str, Any]], size: int) -> Iterator[Rows]:
    with path.open("rb") as stream:
        _Head.read(stream)
        for start in range(0, head.rows, size):
            array = head.take(stream, min(size, head.rows - start))
            yield from tables.rows_of_columns(path, _columns(path, array, inputs), inputs, size)


def _columns(path: Path, array: Array, inputs: Sequence[dict[str, Any]]) -> Columns:
    if len(inputs) == 1:
        return {inputs[0]["name"]: array}
    if array.ndim != 2 or array.shape[1] != len(inputs):
        names = ", ".join(entry["name"] for entry in inputs)
        raise UsageError(
            f"--input {path}: it has rows of shape {list(array.shape[1:])}; expected {len(inputs)} numbers a row "
            f"({names}); use a .npz with an array an input"
        )
    return {entry["name"]: array[:, place] for place, entry in enumerate(inputs)}


def _members(path: Path, names: list[str]) -> dict[str, _Head] | None:
    """The head of each input's array; None where one cannot be streamed or is not there."""
    if not zipfile.is_zipfile(path):
        return None
    heads = {}
    with readable(path), zipfile.ZipFile(path) as archive:
        for name in names:
            if f"{name}.npy" not in archive.namelist():
                return None
            with archive.open(f"{name}.npy") as stream:
                heads[name] = _Head.read(stream)
    return heads if all(head.streams for head in heads.values()) else None


def _of_many(
    path: Path, heads: dict[str, _Head], inputs: Sequence[dict[str, Any]], size: int
) -> Iterator[Rows]:
    rows = next(iter(heads.values())).rows
    with readable(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
        streams = {name: stack.enter_context(archive.open(f"{name}.npy")) for name in heads}
        for stream in streams.values():
            _Head.read(stream)
        for start in range(0, rows, size):
            count = min(size, rows - start)
            columns = {name: head.take(streams[name], count) for name, head in heads.items()}
            yield from tables.rows_of_columns(path, columns, inputs, size)
