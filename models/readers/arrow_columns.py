"""Columns of Arrow as columns of NumPy: exact where NumPy has no missing value of a type."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.cells.facts import EXACT
from tidegate.models.data.columns import Array, text_of
from tidegate.models.data.item_lists import EXAMPLE, items_text
from tidegate.models.data.label_lists import list_text
from tidegate.models.errors import FormatError
from tidegate.models.readers.lists import HOW, ListFacts, as_array, padded_lists


def is_text(kind: Any) -> bool:
    """Whether a type is of strings, also as a dictionary."""
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_list(kind: Any) -> bool:
    """Whether a type is of lists."""
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_decimal(kind: Any) -> bool:
    """Whether a type is of decimal numbers, which NumPy has not."""
    import pyarrow.types as types

    return bool(types.is_decimal(kind))


def may_lose_digits(kind: Any) -> bool:
    """Whether a type has whole numbers that float64 has not."""
    import pyarrow.types as types

    return bool(types.is_int64(kind) or types.is_uint64(kind) or (types.is_decimal(kind) and kind.scale <= 0))


def largest_with_nulls(arrays: Iterable[Any]) -> int:
    """The largest magnitude of a column of whole numbers, if float64 would change one of them; else 0."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    nulls, largest = False, 0
    for array in arrays:
        found = compute.min_max(array)
        nulls = nulls or array.null_count > 0 or types.is_decimal(array.type)
        largest = max(largest, *(abs(int(found[key].as_py() or 0)) for key in ("min", "max")))
    return largest if nulls and largest > EXACT else 0


def list_facts(facts: ListFacts, arrays: Iterable[Any]) -> None:
    """Count the lists of a column."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    for array in arrays:
        inner = array.type.value_type
        values = array.flatten()
        if values.null_count or is_list(inner) or not (types.is_integer(inner) or types.is_floating(inner)):
            for value in array.to_pylist():
                if value is not None:
                    facts.add(value)
            continue
        sizes = compute.min_max(compute.list_value_length(array))
        if sizes["min"].as_py() is not None:
            facts.add_lengths(sizes["min"].as_py(), sizes["max"].as_py())


def column_of_arrow(path: Path, name: str, array: Any, as_texts: bool, steps: int | None) -> Array:
    """A column of Arrow.

    Args:
        path, name: for messages.
        array: of Arrow.
        as_texts: strings are wanted, whatever the type.
        steps: the length of a sequence; None: lists are arrays.

    Raises:
        FormatError: the type has no column.
    """
    import pyarrow.types as types

    kind = array.type
    if types.is_dictionary(kind):
        return column_of_arrow(path, name, array.dictionary_decode(), as_texts, steps)
    if is_text(kind):
        return _objects(array.to_pylist())
    if types.is_timestamp(kind) or types.is_date(kind):
        return _objects(array.cast("string").to_pylist())
    if types.is_boolean(kind) and (array.null_count or as_texts):
        return _objects([None if value is None else text_of(value) for value in array.to_pylist()])
    if as_texts and (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return _objects([_text(value) for value in array.to_pylist()])
    if types.is_decimal(kind) or types.is_null(kind):
        return np.asarray(array.cast("float64").to_numpy(zero_copy_only=False))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if is_list(kind):
        return _lists(path, name, array) if steps is None else _sequences(path, name, array, steps)
    raise FormatError(
        f"{path}: column {name!r} has type {kind}; expected numbers, booleans, strings, dates or lists of numbers; "
        "convert it, or leave it out of data.inputs"
    )


def label_lists(array: Any) -> Array:
    """A column of lists as sets of labels, see `data.label_lists`."""
    return _objects([None if value is None else list_text(value) for value in array.to_pylist()])


def item_lists(path: Path, name: str, array: Any) -> Array:
    """A column of lists as tokens or ids, see `data.item_lists`.

    Raises:
        FormatError: an item is no text and no whole number.
    """
    try:
        return _objects([None if value is None else items_text(value) for value in array.to_pylist()])
    except ValueError as error:
        raise FormatError(
            f"{path}: column {name!r} holds a list with {error.args[0]!r} in it; expected texts or whole numbers, "
            f"{EXAMPLE}; correct it"
        ) from error


def _text(value: Any) -> str | None:
    if isinstance(value, decimal.Decimal):
        plain = format(value, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return None if value is None else text_of(value)


def _objects(values: Sequence[str | None]) -> Array:
    texts = np.empty(len(values), object)
    texts[:] = values
    return texts


def _sequences(path: Path, name: str, array: Any, steps: int) -> Array:
    import pyarrow.compute as compute

    inner = array.type.value_type
    if not is_list(inner) and str(inner).startswith(("int", "uint", "float", "double", "halffloat")):
        sizes = np.asarray(compute.fill_null(compute.list_value_length(array), 0))
        column = np.full((len(array), steps), np.nan)
        column[np.arange(steps)[None, :] < sizes[:, None]] = array.flatten().to_numpy(zero_copy_only=False)
        return column
    rows = [None if not value else as_array(value) for value in array.to_pylist()]
    given = array.to_pylist()
    try:
        if all(row is not None or not value for row, value in zip(rows, given, strict=True)):
            return padded_lists(rows, steps)
    except ValueError:
        pass
    raise _no_numbers(path, name)


def _no_numbers(path: Path, name: str) -> FormatError:
    return FormatError(
        f"{path}: column {name!r} holds lists of different lengths, or lists that are not of numbers; "
        f"expected lists of numbers of one shape; {HOW}; of texts state {{name: {name}, kind: tokens}}, or ids where "
        "their order means nothing"
    )


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
    raise _no_numbers(path, name)


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
