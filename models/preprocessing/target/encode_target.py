"""The target as a network learns it: class numbers, or quantities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Class, Schema, Target


def encode_target(schema: Schema, columns: Columns) -> NDArray[Any]:
    """The target as numbers: int64 class indices `(n,)`, or float32 `(n, outputs)` for a regression.

    Raises:
        SchemaError: a row has no value, or a class that the schema does not have.
    """
    target = schema.target
    for name in target.names:
        absent = int(missing(columns[name]).sum())
        if absent:
            raise SchemaError(
                f"target {name!r} has no value in {absent} of {len(columns[name])} rows; "
                "expected one in every row; drop or fill those rows"
            )
    if target.task == "regression":
        return np.stack([columns[name].astype(np.float32) for name in target.names], axis=1)
    return _positions(target, columns[target.names[0]])


def _positions(target: Target, column: Array) -> NDArray[np.int64]:
    classes = np.array(target.classes)
    if column.dtype.kind in "iu" and classes.dtype.kind == "i":
        ascending = np.argsort(classes).astype(np.int64)
        found: NDArray[np.int64] = ascending[
            np.searchsorted(classes[ascending], column).clip(max=len(classes) - 1)
        ]
        if (classes[found] == column).all():
            return found
    places: dict[Class, int] = {value: place for place, value in enumerate(target.classes)}
    values = column.tolist()
    if target.classes == (False, True) and column.dtype == object:
        places, values = {"false": 0, "true": 1}, [text.lower() for text in values]
    try:
        return np.array([places[value] for value in values], np.int64)
    except KeyError as error:
        raise SchemaError(
            f"target {target.names[0]!r} holds the class {error.args[0]!r}; "
            f"expected one of {', '.join(map(str, target.classes))}; train again with rows of that class"
        ) from error
