"""Sequences of any length as one array, padded with NaN at the end.

A column of kind `sequence` is float `(n, longest, features)`, or `(n, longest)` with one number per step. A step whose
features are all NaN is padding; padding is only allowed at the end.
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
    """The number of steps in each row of a padded column, `(n,)`."""
    there = present(column)
    steps = there.shape[1]
    return np.asarray(np.where(there.any(axis=1), steps - there[:, ::-1].argmax(axis=1), 0), np.int64)


def present(column: Array) -> NDArray[np.bool_]:
    """Which steps of a padded column are not padding, `(n, steps)` bool."""
    there = np.isfinite(column)
    return np.asarray(there.any(axis=2) if column.ndim == 3 else there)


def without_padding(row: Array) -> Array:
    """One padded row without its padding, `(steps, ...)`."""
    return row[: int(lengths(row[None])[0])]
