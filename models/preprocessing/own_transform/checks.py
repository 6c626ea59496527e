"""Whether a transform treats each row by itself: an endpoint calls it with one row or with many, in any order."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, rows_of, take
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import TransformError
from tidegate.models.preprocessing.own_transform.function import OwnTransform

SAMPLE = 256  # rows that are given again together
ALONE = 16  # rows that are given again one by one
RELATIVE = 1e-5  # a sum over more numbers may be rounded otherwise
SLOW = 0.05  # seconds for one row, of which a user should know


def check_rows_alone(own: OwnTransform, columns: Columns, whole: Columns) -> None:
    """Call the function again with some of the rows, and compare with what it gave for all.

    Args:
        own: the transform.
        columns: all raw rows.
        whole: what it gave for them.

    Raises:
        TransformError: it gave something else for the same rows: it is random, keeps state, changes their order, or
            computes over all rows; names the column, the row and both values.
    """
    chosen = np.unique(np.linspace(0, rows_of(columns) - 1, min(SAMPLE, rows_of(columns))).astype(int))
    rows = take(columns, chosen)
    again = own.apply(rows)
    _compare(own, again, own.apply(rows), chosen, "for the same rows, given twice", RANDOM)
    backwards, turned = own.apply(take(rows, np.arange(len(chosen))[::-1])), np.arange(len(chosen))[::-1]
    if same_columns(again, backwards) and not same_columns(again, take(again, turned)):
        raise TransformError(
            f"{own.what} changes the order of the rows; expected a result for each row in its place; leave sorting out"
        )
    few = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(ALONE, len(chosen))).astype(int))]
    began = time.perf_counter()
    for row in few.tolist():
        alone = own.apply(take(columns, np.array([row])))
        _compare(
            own, take(whole, np.array([row])), alone, np.array([row]), "alone and among all rows", TOGETHER
        )
    _tell_slow(own, (time.perf_counter() - began) / len(few))
    expected, forwards = take(whole, chosen), take(backwards, turned)
    _compare(own, expected, forwards, chosen, "among all rows and among others", TOGETHER)


RANDOM = "it is random, or keeps state; expected the same for the same row; seed it in the function, or leave it out"
TOGETHER = (
    "an endpoint gives it one row at a time, so a figure over the rows, such as a mean, is another one there; expected "
    "a row's result to depend on that row alone; compute such figures once, and keep them as constants or in a file"
)


def _compare(own: OwnTransform, first: Columns, second: Columns, rows: Array, when: str, why: str) -> None:
    odd = set(first) ^ set(second)
    if odd:
        raise TransformError(
            f"{own.what} returned column {min(odd)!r} for some rows and not for others, {when}; expected the same "
            "columns for any rows; state categories and columns as constants"
        )
    for name, column in first.items():
        other = second[name]
        if column.shape != other.shape or (column.dtype == object) != (other.dtype == object):
            raise TransformError(
                f"{own.what} returned column {name!r} as {_type(column)} and as {_type(other)}, {when}; expected one "
                "type and shape for any rows; convert it to one"
            )
        for place in np.flatnonzero(~_same(column, other))[:1].tolist():
            raise TransformError(
                f"{own.what} returned {_shown(column[place])} and {_shown(other[place])} in column {name!r} of row "
                f"{int(rows[place])}, {when}: {why}"
            )


def same_columns(first: Columns, second: Columns) -> bool:
    """Whether both have the same columns with the same values, row by row."""
    return set(first) == set(second) and all(
        first[name].shape == second[name].shape
        and (first[name].dtype == object) == (second[name].dtype == object)
        and bool(_same(first[name], second[name]).all())
        for name in first
    )


def _same(first: Array, second: Array) -> Array:
    """Which rows are equal, `(n,)` bool; numbers up to rounding."""
    if first.dtype == object or second.dtype == object:
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        return np.array([one == other for one, other in pairs], bool)
    one, other = first.astype(np.float64), second.astype(np.float64)
    equal = np.isclose(one, other, rtol=RELATIVE, atol=1e-9, equal_nan=True)
    return np.asarray(equal.reshape(len(first), -1).all(axis=1))


def _type(column: Array) -> str:
    kind = "texts" if column.dtype == object else "numbers"
    return kind if column.ndim == 1 else f"{kind} of shape {column.shape[1:]}"


def _shown(value: Any) -> str:
    text = repr(value.tolist() if hasattr(value, "tolist") else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _tell_slow(own: OwnTransform, seconds: float) -> None:
    if seconds > SLOW:
        tell(
            f"{own.what} takes {1000 * seconds:.0f} ms for one row, which each request of the endpoint waits for; move "
            "what it loads or computes each time to the top of its module"
        )
