"""Labels written as one-hot rows, as `to_categorical` and `get_dummies` make them: read as the classes they mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.cells.types import FLAGS
from tidegate.models.data.columns import Array, Columns, missing, rows_of, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import SchemaError

LABEL = "label"  # the target that several one-hot columns become


class TargetColumns:
    """The target columns of rows that come in parts: one-hot rows as classes, other arrays as a column per number.

    The first part with a value decides. A row is one-hot if one of its numbers, or of its columns' numbers, is 1 and
    all others are 0; the texts true and false of several columns count as 1 and 0. Classes of an array are 0 to k - 1,
    those of several columns the columns' names.

    Args:
        names: the target columns.
        task: where it is stated; only without one, or with "classification", rows may be one-hot.
    """

    def __init__(self, names: Sequence[str], task: str | None) -> None:
        self._names, self._task = list(names), task
        self._one_hot: bool | None = None if task in (None, "classification") else False

    def read(self, columns: Columns) -> tuple[Columns, list[str]]:
        """The columns with these targets, and the targets' names.

        Raises:
            SchemaError: a target is no column; classes are asked for and its arrays are none; later rows are unlike the
                first ones.
        """
        for name in self._names:
            if name not in columns:
                raise unknown_column(name, columns, "target")
        table = self._table(columns) if self._one_hot is not False else None
        if table is None and self._one_hot:
            raise self._later_unlike()
        if table is None:
            return self._spread(columns)
        absent = np.asarray(np.stack([missing(columns[name]) for name in self._names]).any(axis=0))
        self._decide(table[~absent])
        if not self._one_hot:
            return self._spread(columns)
        places = table.argmax(axis=1)
        kept = {name: column for name, column in columns.items() if name not in self._names}
        name = self._names[0] if len(self._names) == 1 else self._free_name(kept)
        return kept | {name: self._classes(places, absent)}, [name]

    def _table(self, columns: Columns) -> NDArray[np.float64] | None:
        """The numbers that may be one-hot `(n, k)`: those of one array, or of several columns."""
        parts = [columns[name] for name in self._names]
        if len(parts) > 1:
            parts = [_flags(part) if part.dtype == object else part for part in parts]
        if any(part.dtype == object for part in parts):
            return None
        if len(parts) > 1:
            return np.stack(parts, axis=1).astype(np.float64) if all(p.ndim == 1 for p in parts) else None
        only = parts[0]
        return only.astype(np.float64) if only.ndim == 2 and only.shape[1] > 1 else None

    def _decide(self, table: NDArray[np.float64]) -> None:
        found = bool(len(table)) and bool(
            (((table == 0) | (table == 1)).all(axis=1) & (table.sum(axis=1) == 1)).all()
        )
        if self._one_hot is None:
            self._one_hot = found
            if found:
                self._tell(table.shape[1])
        elif self._one_hot and not found:
            raise self._later_unlike()

    def _later_unlike(self) -> SchemaError:
        return SchemaError(
            f"target {', '.join(self._names)} begins with one-hot rows (one 1, all others 0), and later rows are "
            "none; expected one of both in all rows; set data.task: regression to learn the numbers"
        )

    def _tell(self, count: int) -> None:
        classes = f"0 to {count - 1}" if len(self._names) == 1 else ", ".join(self._names)
        tell(
            f"target {', '.join(self._names)}: each row has one 1 and else 0, and is read as one of the classes "
            f"{classes}; data.task: regression learns the {count} numbers"
        )

    def _classes(self, places: NDArray[np.intp], absent: NDArray[np.bool_]) -> Array:
        if len(self._names) > 1:
            texts = np.array(self._names, object)[places]
            texts[absent] = None
            return texts
        if absent.any():
            return np.where(absent, np.nan, places)
        return places.astype(np.int64)

    def _free_name(self, columns: Columns) -> str:
        name = LABEL
        while name in columns:
            name += "_"
        return name

    def _spread(self, columns: Columns) -> tuple[Columns, list[str]]:
        spread, targets = dict(columns), []
        for name in self._names:
            if columns[name].ndim == 1:
                targets.append(name)
                continue
            numbers = spread.pop(name).reshape(rows_of(columns), -1)
            count = numbers.shape[1]
            if self._task == "classification" and count > 1:
                raise SchemaError(
                    f"target {name!r} holds arrays of {count} numbers, and the task is classification; expected one "
                    "class per row, or one-hot rows (one 1, all others 0); correct the target, or set data.task: "
                    "regression to learn the numbers, segmentation for a class at each place"
                )
            parts = [name] if count == 1 else [f"{name}_{place}" for place in range(count)]
            spread |= {part: numbers[:, place].copy() for place, part in enumerate(parts)}
            targets += parts
        return spread, targets


def _flags(column: Array) -> Array:
    """Texts true and false `(n,)`, in any case, as 1.0 and 0.0, and NaN for a missing one; other texts as they are."""
    words = [None if value is None else FLAGS.get(value.strip().lower()) for value in column.tolist()]
    absent = missing(column)
    if any(word is None and not gone for word, gone in zip(words, absent.tolist(), strict=True)):
        return column
    return np.array([np.nan if word is None else word for word in words])
