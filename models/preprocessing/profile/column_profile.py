"""What a column holds: distinct and missing values, range, examples; the rows may come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, missing

MOST_DISTINCT = 100_000  # values that are counted apart; a column with more has "more than" so many
EXAMPLES = 3
FIRST = 100  # rows that examples come from
LONGEST_EXAMPLE = 40  # characters
SMALL_RANGE = 1 << 16  # whole numbers in a range of this size are counted without sorting


class ColumnProfile:
    """Counts the values of one column."""

    def __init__(self) -> None:
        self.rows = self.missing = 0
        self.least, self.most = np.inf, -np.inf
        self.whole = True
        self.shape: tuple[int, ...] = ()
        self.dtype = ""
        self.values: set[Any] = set()
        self.overflowed = False
        self.examples: list[str] = []

    def add(self, column: Array) -> None:
        """Add rows."""
        absent = missing(column)
        self.rows += len(column)
        self.missing += int(absent.sum())
        self.shape, self.dtype = tuple(column.shape[1:]), str(column.dtype)
        if column.ndim > 1:
            self._range(column)
            return
        present = column[~absent] if absent.any() else column
        if column.dtype != object:
            self._range(present)
        if not self.overflowed:
            self.values.update(present.tolist() if column.dtype == object else _distinct(present).tolist())
            self.overflowed = len(self.values) > MOST_DISTINCT
        if len(self.examples) < EXAMPLES:
            shown = dict.fromkeys([*self.examples, *map(_shown, present[:FIRST].tolist())])
            self.examples = list(shown)[:EXAMPLES]

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def distinct(self) -> int | None:
        """Distinct values, at most MOST_DISTINCT + 1; None for a column of arrays."""
        return None if self.shape else min(len(self.values), MOST_DISTINCT + 1)

    def figures(self) -> dict[str, Any]:
        """As plain JSON values: `distinct`, `missing`, `range` (least and largest number), `examples`."""
        numbers = bool(np.isfinite(self.least))
        return {
            "distinct": self.distinct,
            "missing": self.missing,
            "range": [self.least, self.most] if numbers else None,
            "examples": [] if self.shape else list(self.examples),
        }

    def _range(self, column: Array) -> None:
        values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
        if values.size:
            self.least = min(self.least, float(values.min()))
            self.most = max(self.most, float(values.max()))
            if self.whole and column.dtype.kind == "f":
                self.whole = bool((values == np.floor(values)).all())


def _distinct(column: Array) -> NDArray[Any]:
    """The distinct numbers; without sorting where they are whole and near to each other."""
    if column.dtype.kind in "iu" and column.size:
        least, most = int(column.min()), int(column.max())
        if most - least < SMALL_RANGE:
            return np.flatnonzero(np.bincount((column - least).astype(np.int64))) + least
    return np.unique(column)


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[: LONGEST_EXAMPLE - 1]}…"
