"""Sequences of any length as one array: what is behind the end of each is NaN.

A column of kind `sequence` is float `(n, longest, features)`, or `(n, longest)` of one number a step. A step that is
NaN in all its features does not exist; such steps stand only behind the last one that does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array


def padded(rows: Sequence[Array], longest: int | None = None) -> NDArray[np.float32]:
    """Sequences `(steps, ...)` as one float32 array `(n, longest, ...)`; `longest` defaults to that of the rows."""
    steps = longest or max(len(row) for row in rows)
    column = np.full((len(rows), steps, *rows[0].shape[1:]), np.nan, np.float32)
    for place, row in enumerate(rows):
        column[place, : len(row)] = row
    return column


def lengths(column: Array) -> NDArray[np.int64]:
    """How many steps each row of a padded column has, `(n,)`."""
    there = present(column)
    steps = there.shape[1]
    return np.asarray(np.where(there.any(axis=1), steps - there[:, ::-1].argmax(axis=1), 0), np.int64)


def present(column: Array) -> NDArray[np.bool_]:
    """Which steps of a padded column hold a number, `(n, steps)`."""
    there = np.isfinite(column)
    return np.asarray(there.any(axis=2) if column.ndim == 3 else there)


def without_padding(row: Array) -> Array:
    """One padded row without what is behind its end, `(steps, ...)`."""
    return row[: int(lengths(row[None])[0])]
