"""What a column holds: distinct and missing values, range, examples; the rows may come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, missing

# Values that are counted apart, whole numbers and strings, and fractions; a column with more has "more than" so many.
MOST_DISTINCT, MOST_FRACTIONS = 100_000, 10_000
PIECE = 16_384  # rows whose fractions are counted at once: fewer than these are often enough
EXAMPLES = 3
FIRST = 100  # rows that examples come from
LONGEST_EXAMPLE = 40  # characters
SMALL_RANGE = 1 << 16  # whole numbers in a range of this size are counted without sorting


class ColumnProfile:
    """Counts the values of one column; an infinite number is a missing one."""

    def __init__(self) -> None:
        self.rows = self.missing = self.infinite = 0
        self.least, self.most = np.inf, -np.inf
        self.whole = True
        self.shape: tuple[int, ...] = ()
        self.dtype = ""
        self.texts: set[str] = set()
        self._numbers: NDArray[Any] = np.empty(0)
        self._most = 0  # distinct values that are counted, once there are more
        self.examples: list[str] = []

    def add(self, column: Array) -> None:
        """Add rows."""
        absent = missing(column)
        self.rows += len(column)
        self.missing += int(absent.sum())
        if column.dtype.kind == "f":
            self.infinite += int(np.isinf(column).sum())
        self.shape, self.dtype = tuple(column.shape[1:]), str(column.dtype)
        if column.ndim > 1:
            self._range(column)
            return
        present = column[~absent] if absent.any() else column
        if column.dtype != object:
            self._range(present)
        if not self._most:
            self._count(present)
        if len(self.examples) < EXAMPLES:
            shown = dict.fromkeys([*self.examples, *map(_shown, present[:FIRST].tolist())])
            self.examples = list(shown)[:EXAMPLES]

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def distinct(self) -> int | None:
        """Distinct values, one more than are counted where there are more; None for a column of arrays."""
        return None if self.shape else self._most + 1 if self._most else len(self.texts) + len(self._numbers)

    def figures(self) -> dict[str, Any]:
        """As plain JSON values: `distinct`, `missing`, `range` (least and largest number), `examples`."""
        numbers = bool(np.isfinite(self.least))
        return {
            "distinct": self.distinct,
            "missing": self.missing,
            "range": [self.least, self.most] if numbers else None,
            "examples": [] if self.shape else list(self.examples),
        }

    def _count(self, present: Array) -> None:
        if present.dtype == object:
            self.texts.update(present.tolist())
        else:
            fractions = present.dtype.kind == "f"
            for start in range(0, len(present), PIECE if fractions else max(1, len(present))):
                piece = present[start : start + PIECE] if fractions else present
                found = _distinct(piece)
                self._numbers = np.union1d(self._numbers, found) if len(self._numbers) else found
                if len(self._numbers) > (MOST_DISTINCT if self.whole else MOST_FRACTIONS):
                    break
        most = MOST_DISTINCT if self.whole else MOST_FRACTIONS
        if len(self.texts) + len(self._numbers) > most:
            self._most, self._numbers = most, np.empty(0)

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
        if most - least < SMALL_RANGE and most < 2**63:
            return np.flatnonzero(np.bincount((column - least).astype(np.int64))) + least
    return np.unique(column)


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[: LONGEST_EXAMPLE - 1]}…"
