"""Apache Parquet, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.columns import Array, Columns, unknown_column
from models.errors import FormatError

ROWS = 50_000  # a chunk


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks of rows. A null is NaN or None; lists of numbers of one length are arrays."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in columns or ():
                if name not in names:
                    raise unknown_column(name, names, "input or target")
            if file.metadata.num_rows == 0:
                raise FormatError(f"{path} has no rows; expected at least one; check its export")
            for batch in file.iter_batches(ROWS, columns=None if columns is None else list(columns)):
                yield {
                    name: _column(path, name, array)
                    for name, array in zip(batch.schema.names, batch.columns, strict=True)
                }
    except pyarrow.ArrowException as error:
        raise FormatError(
            f"{path} is no Parquet file: {error}; expected one; "
            "write it again, or state the right data.format"
        ) from error


def _column(path: Path, name: str, array: Any) -> Array:
    import pyarrow.types as types

    kind = array.type
    if types.is_dictionary(kind):
        return _column(path, name, array.dictionary_decode())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _objects(array.to_pylist())
    if types.is_boolean(kind) and array.null_count:
        return _objects([value if value is None else str(value).lower() for value in array.to_pylist()])
    if types.is_decimal(kind) or types.is_null(kind):
        return np.asarray(array.cast("float64").to_numpy(zero_copy_only=False))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(path, name, array)
    raise FormatError(
        f"{path}: column {name!r} has type {kind}; expected numbers, booleans, strings or lists of numbers; "
        "convert it, or leave it out of data.inputs"
    )


def _objects(values: list[str | None]) -> Array:
    texts = np.empty(len(values), object)
    texts[:] = values
    return texts


def _lists(path: Path, name: str, array: Any) -> Array:
    values: list[Any] = array.to_pylist()
    example: Any = next((value for value in values if value is not None), [])
    try:
        shape = np.shape(example)
        stacked = np.array([np.full(shape, np.nan) if value is None else value for value in values])
        if stacked.dtype.kind in "biuf":
            return stacked
    except ValueError:
        pass
    raise FormatError(
        f"{path}: column {name!r} holds lists of different lengths or of other than numbers; "
        "expected lists of numbers of one shape; pad them"
    )
