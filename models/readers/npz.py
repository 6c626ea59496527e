"""NumPy's .npz files: one array per column, all of the same length."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.cells.decision import decided
from tidegate.models.data.cells.facts import CellFacts
from tidegate.models.data.cells.types import CellType, column_of
from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.data.shards import npy_header
from tidegate.models.errors import FormatError
from tidegate.models.readers import readable, rows_per_chunk

WHOLE_BYTES = 64 << 20  # a larger file is read in chunks


def scan(files: Sequence[Path], columns: Sequence[str] | None, options: ReadOptions) -> dict[str, CellType]:
    """The types of strings that are wanted as numbers."""
    facts: dict[str, CellFacts] = {}
    wanted = [name for name in columns or () if options.reads_as(name) == "numbers"]
    for path in files if wanted else ():
        with readable(path), _opened(path) as stored:
            for name in wanted:
                if f"{name}.npy" not in stored.zip.namelist():
                    continue
                with stored.zip.open(f"{name}.npy") as stream:
                    if _kind_of(stream) in "US":
                        cells = facts.setdefault(name, CellFacts())
                        cells.add(_column(path, stored, name).tolist())
    where = files[0] if len(files) == 1 else files[0].parent
    return decided(facts, options, where, (), "")


def read(path: Path, columns: Sequence[str] | None, cells: dict[str, CellType]) -> Iterator[Columns]:
    """All rows, a large file in chunks; strings become objects. Pickled objects are refused, never loaded."""
    for found in _read(path, columns):
        for name in cells.keys() & found.keys():
            found[name] = column_of(found[name].tolist(), cells[name], None)
        yield found


def _kind_of(stream: Any) -> str:
    try:
        return str(npy_header(stream)[1].kind)
    except ValueError:  # told when it is read
        return "O"


def _read(path: Path, columns: Sequence[str] | None) -> Iterator[Columns]:
    with _opened(path) as stored:
        wanted = list(stored.files) if columns is None else list(columns)
        if sum(member.file_size for member in stored.zip.infolist()) > WHOLE_BYTES:
            yield from _chunks(path, stored, wanted)
            return
        found = {name: _column(path, stored, name) for name in wanted}
    _check_lengths(path, found)
    yield found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            known = "a single array (.npy)" if stream.read(6) == b"\x93NUMPY" else "something else"
        raise FormatError(
            f"{path} is {known}; expected an .npz file; write it with "
            "numpy.savez(path, x=..., y=...), or set the right data.format"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except (zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(
            f"{path} is damaged: {error}; expected a complete .npz file; write or copy it again"
        ) from error


def _chunks(path: Path, stored: Any, wanted: Sequence[str]) -> Iterator[Columns]:
    """All arrays are read in parallel, directly from the file."""
    with contextlib.ExitStack() as stack:
        streams, heads = {}, {}
        for name in wanted:
            if name not in stored.files:
                raise unknown_column(name, stored.files, "input or target")
            if f"{name}.npy" not in stored.zip.namelist():
                raise _no_array(path, name)
            streams[name] = stack.enter_context(stored.zip.open(f"{name}.npy"))
            try:
                heads[name] = npy_header(streams[name])
            except ValueError as error:
                raise FormatError(
                    f"{path}: array {name!r} cannot be read in chunks: {error}; expected an array stored row by row; "
                    "write it with numpy.savez and numpy.ascontiguousarray(...)"
                ) from error
            if heads[name][1].hasobject:
                raise _pickled(path, name)
        _check_lengths(path, {n: np.broadcast_to(np.zeros((), d), shape) for n, (shape, d) in heads.items()})
        sizes = {name: dtype.itemsize * math.prod(shape[1:]) for name, (shape, dtype) in heads.items()}
        rows = next(shape[0] for shape, _ in heads.values())
        step = rows_per_chunk(sum(sizes.values()), rows)
        for start in range(0, rows, step):
            count, chunk = min(step, rows - start), {}
            for name, (shape, dtype) in heads.items():
                content = streams[name].read(count * sizes[name])
                if len(content) < count * sizes[name]:
                    raise FormatError(
                        f"{path}: array {name!r} ends in row {start + len(content) // max(1, sizes[name])} of {rows}; "
                        "expected a complete .npz file; write or copy it again"
                    )
                chunk[name] = _native(path, name, np.frombuffer(content, dtype).reshape(count, *shape[1:]))
            yield chunk


def _column(path: Path, stored: Any, name: str) -> Array:
    if name not in stored.files:
        raise unknown_column(name, stored.files, "input or target")
    try:
        return _native(path, name, stored[name])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise FormatError(
                f"{path}: array {name!r} is damaged: {error}; expected a complete .npz file; "
                "write or copy it again"
            ) from error
        raise _pickled(path, name) from error


def _pickled(path: Path, name: str) -> FormatError:
    return FormatError(
        f"{path}: array {name!r} holds pickled Python objects, which can run code when loaded and are "
        "refused; expected numbers or strings; save it without objects, for example with array.astype(str) or "
        "array.astype(float)"
    )


def _no_array(path: Path, name: str) -> FormatError:
    return FormatError(f"{path}: {name!r} is not an array; expected only arrays from numpy.savez; remove it")


def _native(path: Path, name: str, array: Array | bytes) -> Array:
    if isinstance(array, bytes):  # NumPy returns bytes for a member that is not an array
        raise _no_array(path, name)
    kind = array.dtype.kind
    if kind in "US":
        texts = np.char.decode(array, "utf-8") if kind == "S" else array
        return texts.astype(object)
    if kind == "M":  # dates and times, as every other format has them
        texts = np.datetime_as_string(array).astype(object)
        texts[np.isnat(array)] = None
        return texts
    if kind not in "biuf":
        raise FormatError(
            f"{path}: array {name!r} has dtype {array.dtype}; expected numbers, booleans, strings or dates; "
            "convert it, for example with array.astype(float)"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_lengths(path: Path, found: Columns) -> None:
    single = next((name for name, array in found.items() if array.ndim == 0), None)
    if single is not None:
        raise FormatError(
            f"{path}: array {single!r} is a single value; expected one entry per row; "
            "name the arrays to use in data.inputs and data.target"
        )
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FormatError(
            f"{path}: arrays have different lengths: {listed}; expected one entry per row in each; "
            "name the arrays that belong together in data.inputs and data.target"
        )
