"""The target as a network learns it: class numbers, quantities, or a 0 or 1 a label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Class, Schema, Target
from tidegate.models.preprocessing.target.label_matrix import label_matrix
from tidegate.models.preprocessing.target.masks import mask_places
from tidegate.models.preprocessing.target.tags import encode_tags


def encode_target(schema: Schema, columns: Columns) -> NDArray[Any]:
    """The target as numbers.

    Returns:
        int64 class indices `(n,)`, `(n, *shape)` of a segmentation or tagging, -1 where there is none, int16 of masks;
        float32 `(n, outputs)` or `(n, *shape)` of a regression, `(n, labels)` of 0 and 1 of a multi-label target; of
        several outputs all of these side by side, as float32, see `answers.truths_of`.

    Raises:
        SchemaError: a row has no value, or a class that the schema does not have.
    """
    return encoded(schema.target, columns)


def encoded(target: Target, columns: Columns) -> NDArray[Any]:
    """The same of one target, which may be one of several outputs."""
    if target.outputs is not None:
        parts = [encoded(output, columns) for output in target.outputs]
        return np.concatenate([part.reshape(len(part), -1).astype(np.float32) for part in parts], axis=1)
    if target.task == "anomaly":
        raise SchemaError("anomalies have no encoded target; expected `anomalies.known_anomalies`")
    for name in target.names:
        absent = int(missing(columns[name]).sum())
        if absent:
            raise SchemaError(
                f"target {name!r} has no value in {absent} of {len(columns[name])} rows; "
                "expected one in every row; drop or fill those rows"
            )
    if target.task == "multilabel":
        return label_matrix(target, columns)
    if target.task == "tagging":
        return encode_tags(target, columns[target.names[0]])
    if target.shape is not None:
        return _dense(target, columns[target.names[0]])
    if target.task == "regression":
        return np.stack([columns[name].astype(np.float32) for name in target.names], axis=1)
    return _positions(target, columns[target.names[0]])


def _dense(target: Target, column: Array) -> NDArray[Any]:
    """A target of one array a row."""
    if target.task != "segmentation":
        return column.astype(np.float32)
    if target.values is not None:
        return mask_places(target, column)
    return _positions(target, column.reshape(-1)).reshape(column.shape)


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
