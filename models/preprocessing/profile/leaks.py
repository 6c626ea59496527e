"""Whether one column alone predicts the target: then it may be the target in disguise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.data.dates import seconds
from tidegate.models.preprocessing.schema import Field, Target

ALONE = 0.999
MOST_ROWS = 5_000  # that are looked at
LEAST_ROWS = 50
MOST_MAJORITY = 0.99  # with one class in so many rows, any column predicts it


def predicts_alone(field: Field, columns: Columns, target: Target) -> str:
    """What a column tells of the target, if it nearly equals it; else "".

    A class is predicted as that of another row with the same or the next value; so is a quantity by the mean of the
    rows with the same category, or by a straight line.
    """
    if field.shape or target.task not in ("classification", "regression") or field.kind == "text":
        return ""
    step = max(1, len(columns[field.name]) // MOST_ROWS)
    column = columns[field.name][::step]
    numbers = _numbers(field, column)
    for name in target.names:
        truth = columns[name][::step]
        kept = ~missing(column) & ~missing(truth)
        if kept.sum() < LEAST_ROWS or kept.sum() < 0.5 * len(kept):
            continue
        found = _compared(field, numbers[kept], column[kept], truth[kept], target)
        if found:
            return found.format(name=repr(name))
    return ""


def _compared(field: Field, numbers: NDArray[np.float64], raw: Array, truth: Array, target: Target) -> str:
    if _equal(raw, truth):
        return "equals the target {name} in every row"
    if target.task == "regression":
        return _of_quantity(field, numbers, np.asarray(truth, np.float64))
    classes = np.unique(truth.astype(str), return_inverse=True)[1]
    if np.bincount(classes).max() > MOST_MAJORITY * len(classes):
        return ""
    share = (
        _by_value(numbers, classes)
        if field.kind in ("categorical", "id")
        else _by_neighbour(numbers, classes)
    )
    return f"alone predicts the target {{name}} in {share:.1%} of the rows" if share >= ALONE else ""


def _numbers(field: Field, column: Array) -> NDArray[np.float64]:
    if field.kind == "date":
        return seconds(column, field.format or "")
    if column.dtype == object:
        return np.unique(column.astype(str), return_inverse=True)[1].astype(np.float64)
    return column.astype(np.float64)


def _equal(raw: Array, truth: Array) -> bool:
    if (raw.dtype == object) != (truth.dtype == object):
        return False
    return bool((raw == truth).all()) and len(set(truth[:MOST_ROWS].tolist())) > 1


def _of_quantity(field: Field, numbers: NDArray[np.float64], truth: NDArray[np.float64]) -> str:
    spread = float(((truth - truth.mean()) ** 2).sum())
    if spread <= 0:
        return ""
    if field.kind in ("categorical", "id"):
        codes = np.unique(numbers, return_inverse=True)[1]
        counts, sums = np.bincount(codes), np.bincount(codes, truth)
        several = counts[codes] > 1
        if several.mean() < 0.5:
            return ""
        others = (sums[codes] - truth)[several] / (counts[codes] - 1)[several]
        left = float(((truth[several] - others) ** 2).sum())
        whole = float(((truth[several] - truth[several].mean()) ** 2).sum())
        share = 1 - left / whole if whole > 0 else 0.0
        return f"alone explains {share:.1%} of the target {{name}}" if share >= ALONE else ""
    if numbers.std() <= 0:
        return ""
    correlation = float(np.corrcoef(numbers, truth)[0, 1])
    said = f"has a correlation of {correlation:.4f} with the target {{name}}"
    return said if abs(correlation) >= ALONE else ""


def _by_value(numbers: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The share of rows whose class is that of most other rows with the same value."""
    values = np.unique(numbers, return_inverse=True)[1]
    table = np.zeros((values.max() + 1, classes.max() + 1))
    np.add.at(table, (values, classes), 1)
    several = table.sum(axis=1)[values] > 1
    if several.mean() < 0.5:
        return 0.0
    others = table[values[several]]
    others[np.arange(len(others)), classes[several]] -= 1
    return float((others.argmax(axis=1) == classes[several]).mean())


def _by_neighbour(numbers: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The share of rows whose class is that of most rows with the same number, or of the row with the next number."""
    distinct = len(np.unique(numbers))
    if distinct <= len(numbers) // 4:
        return _by_value(numbers, classes)
    order = np.argsort(numbers, kind="stable")
    sorted_classes = classes[order]
    changes = int((sorted_classes[1:] != sorted_classes[:-1]).sum())
    needed = len(np.unique(classes)) - 1  # between classes that lie apart
    return 1.0 - (changes - needed) / len(classes)
