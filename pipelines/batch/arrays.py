"""NumPy's .npy and .npz, read chunk by chunk: the whole array is never in memory. Pickles are refused."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tidegate.models.data.columns import Array, Columns
from tidegate.models.readers import readable
from tidegate.pipelines.batch import BatchInput, Chunk, Repeatable, tables
from tidegate.pipelines.errors import UsageError

NUMBERS = "biuf"


def open_batch_input(path: Path, inputs: Sequence[dict[str, Any]], size: int) -> BatchInput:
    """The rows of an array file.

    A .npy holds the only input, or one column of numbers per input, in their order; a .npz holds one array per input.

    Raises:
        UsageError: the arrays are not those of the inputs.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            header = _Header.read(stream)
        if not header.is_chunkable:
            raise UsageError(f"--input {path}: it holds {header.dtype}; expected numbers in C order")
        return BatchInput(Repeatable(partial(_chunks_of_array, path, header, inputs, size)), header.rows)
    headers = _headers(path, [entry["name"] for entry in inputs])
    if headers is None:  # texts, or arrays in Fortran order: the reader knows both
        return tables.open_batch_input(path, inputs, size)
    lengths = {name: header.rows for name, header in headers.items()}
    if len(set(lengths.values())) > 1:
        received = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UsageError(
            f"--input {path}: arrays have different lengths: {received}; expected one entry per row in each"
        )
    again = Repeatable(partial(_chunks_of_archive, path, headers, inputs, size))
    return BatchInput(again, next(iter(lengths.values())))


@dataclass(frozen=True)
class _Header:
    """The header of an array file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @classmethod
    def read(cls, stream: IO[bytes]) -> "_Header":
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its .npy version is {version}; expected 1.0 or 2.0; save it again")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        return cls(shape, dtype, fortran)

    @property
    def is_chunkable(self) -> bool:
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
                "the file ends before its last row; expected a complete one; write or copy it again"
            )
        array = np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])
        return array.astype(self.dtype.newbyteorder("="), copy=False)


def _chunks_of_array(
    path: Path, header: _Header, inputs: Sequence[dict[str, Any]], size: int
) -> Iterator[Chunk]:
    with path.open("rb") as stream:
        _Header.read(stream)
        for start in range(0, header.rows, size):
            array = header.take(stream, min(size, header.rows - start))
            yield from tables.chunks_of_columns(path, _columns(path, array, inputs), inputs, size)


def _columns(path: Path, array: Array, inputs: Sequence[dict[str, Any]]) -> Columns:
    if len(inputs) == 1:
        return {inputs[0]["name"]: array}
    if array.ndim != 2 or array.shape[1] != len(inputs):
        names = ", ".join(entry["name"] for entry in inputs)
        raise UsageError(
            f"--input {path}: it has rows of shape {list(array.shape[1:])}; expected {len(inputs)} numbers per row "
            f"({names}); use a .npz with one array per input"
        )
    return {entry["name"]: array[:, place] for place, entry in enumerate(inputs)}


def _headers(path: Path, names: list[str]) -> dict[str, _Header] | None:
    """The header of each input's array; None where one is missing or cannot be read in chunks."""
    if not zipfile.is_zipfile(path):
        return None
    headers = {}
    with readable(path), zipfile.ZipFile(path) as archive:
        for name in names:
            if f"{name}.npy" not in archive.namelist():
                return None
            with archive.open(f"{name}.npy") as stream:
                headers[name] = _Header.read(stream)
    return headers if all(header.is_chunkable for header in headers.values()) else None


def _chunks_of_archive(
    path: Path, headers: dict[str, _Header], inputs: Sequence[dict[str, Any]], size: int
) -> Iterator[Chunk]:
    rows = next(iter(headers.values())).rows
    with readable(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
        streams = {name: stack.enter_context(archive.open(f"{name}.npy")) for name in headers}
        for stream in streams.values():
            _Header.read(stream)
        for start in range(0, rows, size):
            count = min(size, rows - start)
            columns = {name: header.take(streams[name], count) for name, header in headers.items()}
            yield from tables.chunks_of_columns(path, columns, inputs, size)
