"""A set of labels a row, from one column of lists or several of 0 and 1: learned as a 0 or 1 a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.data.label_lists import labels_of
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Class, Target


def known_labels(columns: Columns, names: Sequence[str]) -> tuple[Class, ...]:
    """All labels, in order of the alphabet; of several columns their names, of arrays their places.

    Raises:
        SchemaError: fewer than two, or a column that is not of 0 and 1.
    """
    if len(names) > 1:
        for name in names:
            flags(name, columns[name])
        return tuple(names)
    if columns[names[0]].ndim == 2:
        return tuple(range(flags(names[0], columns[names[0]]).shape[1]))
    labels = sorted({label for row in labels_of(columns[names[0]]) for label in row})
    if len(labels) < 2:
        raise SchemaError(
            f"target {names[0]!r} has the labels {labels}; expected two or more among all rows; check the source"
        )
    return tuple(labels)


def label_matrix(target: Target, columns: Columns) -> NDArray[np.float32]:
    """What is learned, float32 `(n, labels)`: 1 where a row has the label.

    Raises:
        SchemaError: a label that the target does not have.
    """
    if len(target.names) > 1:
        return np.stack([flags(name, columns[name]) for name in target.names], axis=1)
    if columns[target.names[0]].ndim == 2:
        return flags(target.names[0], columns[target.names[0]])
    places: Mapping[Any, int] = {label: place for place, label in enumerate(target.classes)}
    rows = labels_of(columns[target.names[0]])
    matrix = np.zeros((len(rows), len(places)), np.float32)
    for row, labels in enumerate(rows):
        for label in labels:
            if label not in places:
                raise SchemaError(
                    f"target {target.names[0]!r} has the label {label!r}; expected some of "
                    f"{', '.join(map(str, target.classes))}; train again with rows of that label"
                )
            matrix[row, places[label]] = 1.0
    return matrix


def flags(name: str, column: Array, option: str = "") -> NDArray[np.float32]:
    """A column or an array of 0 and 1, or true and false, as numbers; missing ones are 0.

    Args:
        name: of the column.
        option: that names it; "" for a target.

    Raises:
        SchemaError: it holds something else.
    """
    if column.dtype == object:
        known = {"true": 1.0, "false": 0.0}
        numbers = np.array([known.get((text or "").strip().lower(), 2.0) for text in column])
        numbers[missing(column)] = 0.0
    else:
        numbers = np.where(np.isnan(column), 0.0, column)
    bad = np.argwhere((numbers != 0) & (numbers != 1))
    if len(bad):
        whose = f"{option} {name!r}" if option else f"target {name!r}"
        held = f"{whose} holds {column[tuple(bad[0])]!r} in row {bad[0][0] + 1}"
        if option:
            raise SchemaError(
                f"{held}; expected 0 or 1, or true or false; correct it, or name another column"
            )
        raise SchemaError(
            f"{held}, and the task is multilabel; expected 0 or 1, or true or false; correct it, or name one column "
            "with a list of labels a row"
        )
    return numbers.astype(np.float32)
