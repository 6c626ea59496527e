"""Rows that a function of the user's gives, `data.load`: columns, a table, or an iterator of these.

A table is whatever speaks Arrow's C stream: pandas, Polars, pyarrow. NumPy arrays of numbers stay as they are; all
other columns are read as Arrow types them, as those of a Parquet file are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.read_options import OwnLoad, ReadOptions
from tidegate.models.errors import FormatError, UserCodeError
from tidegate.models.readers.arrow_columns import is_decimal, may_lose_digits
from tidegate.models.readers.own.arrow_scan import ArrowFacts, Scan, column_as_scanned
from tidegate.models.readers.own.loaded_columns import Part, columns_of_part, length_of
from tidegate.models.user_code.references import load_reference, user_code

EXPECTED = (
    "a dict of columns, a pandas, Polars or pyarrow table, or an iterator of these; return for example "
    "{'x': x, 'y': y}"
)


def read_own(
    load: OwnLoad, source: str | Path | None, columns: Sequence[str] | None, options: ReadOptions
) -> Iterator[Columns]:
    """The rows that the function gives, in the parts in which it gives them.

    The function is called once more for each time that the rows are read, unless `load` holds what it returned.

    Args:
        load: the function and its options.
        source: its first argument; None: it has none.
        columns: those to read; None means all.
        options: as what they are read.

    Raises:
        UserCodeError: the function is missing or raised.
        FormatError: what it returned is no columns, has no rows, or is not the same as when it was called before.
        SchemaError: a column of `columns` does not exist.
    """
    key, where = ("load", str(source)), Path(load.reference)
    if key not in options.scans:
        options.scans[key] = _scanned(load, source, columns, options)
    names, rows, scanned = options.scans[key]
    for name in columns or ():
        if name not in names:
            raise unknown_column(name, names, "input or target")
    wanted = [name for name in names if name not in scanned.index] if columns is None else columns
    given = 0
    for part in _parts(load, source):
        _check_names(load, part, names)
        given += length_of(part)
        yield {name: _column(where, name, part[name], scanned) for name in wanted}
    if given != rows:
        raise FormatError(
            f"data.load {load.reference} gave {rows} rows when it was called first, and {given} now; expected the same "
            "rows each time, because they are read more than once; let them depend on source and options alone"
        )


def held_parts(load: OwnLoad, source: str | Path | None, most: float) -> list[Part] | None:
    """All that the function gives; None for an iterator of more than `most` bytes. Raises as `read_own`."""
    found, size = [], 0
    returned = _called(load, source)
    for part in _checked(load, returned):
        found.append(part)
        size += sum(array.nbytes for array in part.values())
        if size > most and _is_iterator(returned):
            return None
    return found


def _scanned(
    load: OwnLoad, source: str | Path | None, columns: Sequence[str] | None, options: ReadOptions
) -> tuple[list[str], int, Scan]:
    """The names of the columns, the number of rows, and what all rows tell about their types."""
    facts, names, rows = ArrowFacts(options), list[str](), 0
    whole = dict[str, set[str]]()
    for part in _parts(load, source):
        names = names or list(part)
        _check_names(load, part, names)
        rows += length_of(part)
        facts.index.update(part.index if columns is None else ())
        for name, array in part.items():
            _add(facts, name, array)
            whole.setdefault(name, set()).update(_exactness(array))
    for name, kinds in whole.items():
        if kinds >= {"large", "float"}:
            raise FormatError(
                f"data.load {load.reference}: column {name!r} has whole numbers beyond 2^53 in one part and fractions "
                "in another; expected one type, because float64 would change them; convert it, for example to text"
            )
    if rows == 0:
        raise FormatError(
            f"data.load {load.reference} gave no rows; expected at least one; check what it reads and its filters"
        )
    return names, rows, facts.scan(Path(load.reference))


def _add(facts: ArrowFacts, name: str, array: Any) -> None:
    if isinstance(array, np.ndarray) or name in facts.index:
        return
    inexact = may_lose_digits(array.type) and (is_decimal(array.type) or array.null_count > 0)
    facts.add(name, array.type, array.chunks, inexact)


def _exactness(array: Any) -> set[str]:
    """Whether a column has whole numbers that float64 changes, or fractions."""
    if not isinstance(array, np.ndarray):
        return set()
    if array.dtype.kind == "f":
        return {"float"}
    large = array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size
    return {"large"} if large and max(-int(array.min()), int(array.max())) > 1 << 53 else set()


def _column(where: Path, name: str, array: Any, scanned: Scan) -> Array:
    if isinstance(array, np.ndarray):
        return array
    return column_as_scanned(where, name, array.combine_chunks(), scanned)


def _parts(load: OwnLoad, source: str | Path | None) -> Iterator[Part]:
    """What the function gives, as columns of NumPy or Arrow."""
    yield from load.held if load.held is not None else _checked(load, _called(load, source))


def _called(load: OwnLoad, source: str | Path | None) -> Any:
    function = load_reference(load.reference, "data.load")
    if not callable(function):
        raise UserCodeError(
            f"data.load: {load.reference} is {type(function).__name__} {str(function)[:50]!r}; expected a function; "
            "correct the name"
        )
    first = () if source is None else (str(source),)
    _check_signature(function, first, load)
    with user_code(f"data.load: calling {load.reference}"):
        return function(*first, **load.options)


def _check_signature(function: Callable[..., Any], first: Sequence[str], load: OwnLoad) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*first, **load.options)
    except TypeError as error:
        given = ", ".join(["source"] * len(first) + [f"{name}=…" for name in load.options])
        raise UserCodeError(
            f"data.load: {load.reference}{signature} cannot be called with ({given}): {error}; expected "
            "load(source, **options); correct data.source, data.options or the function"
        ) from error


def _is_iterator(returned: Any) -> bool:
    """Whether several parts were returned: an iterator, a list of tables, a reader of record batches."""
    if isinstance(returned, Mapping | np.ndarray | str | bytes):
        return False
    return hasattr(returned, "__next__") or isinstance(returned, list | tuple)


def _checked(load: OwnLoad, returned: Any) -> Iterator[Part]:
    where = f"data.load {load.reference}"
    if not _is_iterator(returned):
        yield columns_of_part(returned, where, EXPECTED)
        return
    parts, number = iter(returned), 0
    while True:
        with user_code(f"{where}: reading its part {number + 1}"):
            part = next(parts, parts)
        if part is parts:
            return
        number += 1
        yield columns_of_part(part, f"{where}, part {number}", EXPECTED)


def _check_names(load: OwnLoad, part: Part, names: Sequence[str]) -> None:
    if set(part) != set(names):
        more, less = sorted(set(part) - set(names)), sorted(set(names) - set(part))
        words = " and ".join(
            text for text in (more and f"also {', '.join(more)}", less and f"no {', '.join(less)}") if text
        )
        raise FormatError(
            f"data.load {load.reference} gave a part with {words}, unlike the first one; expected the same columns in "
            "all parts, and each time; correct the function"
        )
