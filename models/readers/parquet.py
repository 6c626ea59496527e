"""Apache Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.errors import FormatError
from tidegate.models.readers import rows_per_chunk

ROWS = 50_000  # per chunk, or fewer if rows are large


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
            wanted = None if columns is None else list(columns)
            for batch in file.iter_batches(_rows_per_chunk(file.metadata), columns=wanted):
                yield {
                    name: _column(path, name, array)
                    for name, array in zip(batch.schema.names, batch.columns, strict=True)
                }
    except pyarrow.ArrowException as error:
        raise FormatError(
            f"{path} is not a Parquet file: {error}; expected one; write it again, or set the right data.format"
        ) from error


def _rows_per_chunk(metadata: Any) -> int:
    """Counts eight bytes for a number, however well it is compressed in the file."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    numbers = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    whole = 8 * numbers + sum(group.total_byte_size for group in groups)
    return rows_per_chunk(whole / metadata.num_rows, ROWS)


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
    flat = _even(array)
    if flat is not None:
        return flat
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
        f"{path}: column {name!r} holds lists of different lengths, or lists that are not of numbers; "
        "expected lists of numbers of one shape; pad them"
    )


def _even(array: Any) -> Array | None:
    """Lists of numbers of one length as one array, with the dtype of `numpy.array`; None for other lists."""
    import pyarrow.compute
    import pyarrow.types as types

    inner = array.type.value_type
    whole = types.is_integer(inner) and not types.is_uint64(inner)
    if array.null_count or not (whole or types.is_floating(inner)) or not len(array):
        return None
    values, sizes = array.flatten(), pyarrow.compute.unique(pyarrow.compute.list_value_length(array))
    size = len(values) // len(array)
    if len(sizes) > 1 or values.null_count or size == 0:
        return None
    numbers = values.to_numpy(zero_copy_only=False).reshape(len(array), size)
    return np.asarray(numbers, np.int64 if whole else np.float64)
