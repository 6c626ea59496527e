"""Whether one column alone predicts the target: then it may be the target in disguise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.data.dates import seconds
from tidegate.models.data.item_lists import WRITTEN
from tidegate.models.preprocessing.schema import Field, Target

ALONE = 0.999
MOST_ROWS, MOST_CELLS = 5_000, 2_000_000  # that are looked at
LEAST_ROWS = 50
MOST_MAJORITY = 0.99  # with one class in so many rows, any column predicts it
LABELS = ("categorical", "id")  # kinds whose order means nothing


class Leaks:
    """Compares columns with the target, on some of the rows.

    A class is predicted as that of the other rows with the same value, or of the row with the next number; a quantity
    by the mean of the other rows with the same value, or by a straight line.
    """

    def __init__(self, columns: Columns, target: Target) -> None:
        rows = min(MOST_ROWS, MOST_CELLS // max(1, len(columns)))
        self._some = {name: column[:: max(1, len(column) // rows)] for name, column in columns.items()}
        self._classes = target.task == "classification"
        self._truths: dict[str, tuple[Array, Array, NDArray[np.bool_]]] = {}
        plain = target.task in ("classification", "regression") and target.shape is None
        for name in target.names if plain else ():
            truth = self._some[name]
            present = ~missing(truth)
            known: Array = _codes(truth) if self._classes else truth.astype(np.float64)
            if not self._classes or np.bincount(known[present]).max() <= MOST_MAJORITY * present.sum():
                self._truths[name] = (truth, known, present)

    def found(self, field: Field) -> str:
        """What a column tells of the target, if it nearly equals it; else ""."""
        if field.shape or field.kind in WRITTEN:
            return ""
        column = self._some[field.name]
        there = ~missing(column)
        for name, (raw, truth, present) in self._truths.items():
            kept = there & present
            if kept.sum() < max(LEAST_ROWS, len(kept) / 2):
                continue
            if _equal(column[kept], raw[kept]):
                return f"equals the target {name!r} in every row"
            numbers = _numbers(field, column[kept])
            said = (_of_class if self._classes else _of_quantity)(field, numbers, truth[kept])
            if said:
                return said.format(name=repr(name))
        return ""


def _codes(values: Array) -> NDArray[np.int64]:
    texts = values.astype(str) if values.dtype == object else values
    return np.asarray(np.unique(texts, return_inverse=True)[1], np.int64)


def _equal(raw: Array, truth: Array) -> bool:
    return (raw.dtype == object) == (truth.dtype == object) and bool((raw == truth).all())


def _numbers(field: Field, column: Array) -> NDArray[np.float64]:
    if field.kind == "date":
        return seconds(column, field.format or "")
    return (_codes(column) if column.dtype == object else column).astype(np.float64)


def _of_class(field: Field, numbers: NDArray[np.float64], classes: NDArray[np.int64]) -> str:
    order = np.argsort(numbers, kind="stable")
    steps = np.flatnonzero(np.diff(numbers[order]))
    if field.kind in LABELS or len(steps) < len(numbers) // 4:
        values = np.empty(len(numbers), np.int64)
        values[order] = np.searchsorted(steps, np.arange(len(numbers)))
        share = _by_value(values, classes)
    else:
        share = _by_neighbour(classes[order])
    return f"alone predicts the target {{name}} in {share:.1%} of the rows" if share >= ALONE else ""


def _by_value(values: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """The share of rows whose class is that of most other rows with the same value; 0 if few have another one."""
    width = int(classes.max()) + 1
    if (values.max() + 1) * width > MOST_CELLS:
        return 0.0
    table = np.bincount(values * width + classes, minlength=(values.max() + 1) * width).reshape(-1, width)
    several = table.sum(axis=1)
    counted = several[several > 1].sum()
    # Without a row's own class the others' most frequent one is still its own where that has two rows or more.
    right = np.where((several > 1) & (table.max(axis=1) > 1), table.max(axis=1), 0).sum()
    return float(right / counted) if counted >= len(values) / 2 else 0.0


def _by_neighbour(sorted_classes: NDArray[np.int64]) -> float:
    """The share of rows whose class is that of the row with the next number."""
    changes = int((sorted_classes[1:] != sorted_classes[:-1]).sum())
    needed = len(np.unique(sorted_classes)) - 1  # between classes that lie apart
    return 1.0 - (changes - needed) / len(sorted_classes)


def _of_quantity(field: Field, numbers: NDArray[np.float64], truth: NDArray[np.float64]) -> str:
    if numbers.std() <= 0 or truth.std() <= 0:
        return ""
    if field.kind not in LABELS:
        correlation = float(np.corrcoef(numbers, truth)[0, 1])
        said = f"has a correlation of {correlation:.4f} with the target {{name}}"
        return said if abs(correlation) >= ALONE else ""
    codes = _codes(numbers)
    counts, sums = np.bincount(codes)[codes], np.bincount(codes, truth)[codes]
    several = counts > 1
    if several.mean() < 0.5:
        return ""
    others = (sums - truth)[several] / (counts - 1)[several]
    left = float(((truth[several] - others) ** 2).sum())
    whole = float(((truth[several] - truth[several].mean()) ** 2).sum())
    share = 1 - left / whole if whole > 0 else 0.0
    return f"alone explains {share:.1%} of the target {{name}}" if share >= ALONE else ""
