"""NumPy's .npz: one array a column, all of the same length."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.columns import Array, Columns, unknown_column
from models.errors import FormatError


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """One chunk with all rows; strings become objects. Pickled objects are refused, never loaded."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            known = "a single array (.npy)" if stream.read(6) == b"\x93NUMPY" else "something else"
        raise FormatError(
            f"{path} is no .npz file but {known}; expected numpy.savez's; write it with "
            "numpy.savez(path, x=..., y=...), or state the right data.format"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            wanted = list(stored.files) if columns is None else list(columns)
            found = {name: _column(path, stored, name) for name in wanted}
    except (zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(
            f"{path} is damaged: {error}; expected a whole .npz file; write or copy it again"
        ) from error
    _check_lengths(path, found)
    yield found


def _column(path: Path, stored: Any, name: str) -> Array:
    if name not in stored.files:
        raise unknown_column(name, stored.files, "input or target")
    try:
        return _native(path, name, stored[name])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise FormatError(
                f"{path}: array {name!r} is damaged: {error}; expected a whole .npz file; "
                "write or copy it again"
            ) from error
        raise FormatError(
            f"{path}: array {name!r} holds pickled Python objects, which can run code when loaded and are "
            "refused; expected numbers or strings; save it without objects, such as array.astype(str) or "
            "array.astype(float)"
        ) from error


def _native(path: Path, name: str, array: Array | bytes) -> Array:
    if isinstance(array, bytes):  # what NumPy gives for a member that is no array
        raise FormatError(f"{path}: {name!r} is no array; expected numpy.savez's arrays only; remove it")
    kind = array.dtype.kind
    if kind in "US":
        texts = np.char.decode(array, "utf-8") if kind == "S" else array
        return texts.astype(object)
    if kind not in "biuf":
        raise FormatError(
            f"{path}: array {name!r} has dtype {array.dtype}; expected numbers, booleans or strings; "
            "convert it, such as with array.astype(float)"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_lengths(path: Path, found: Columns) -> None:
    single = next((name for name, array in found.items() if array.ndim == 0), None)
    if single is not None:
        raise FormatError(
            f"{path}: array {single!r} is a single value; expected one entry a row; "
            "name the arrays wanted in data.inputs and data.target"
        )
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FormatError(
            f"{path}: arrays have different lengths: {told}; expected one entry a row in each; "
            "name the arrays that belong together in data.inputs and data.target"
        )
