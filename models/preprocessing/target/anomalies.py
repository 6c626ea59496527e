"""Known anomalies: a column of 0 and 1 that no model is given, and the rows that are learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.target.label_matrix import flags
from tidegate.models.preprocessing.target.reconstruction import reconstructed
from tidegate.models.preprocessing.transforms import Transforms

LABEL = "data.anomaly.label"


def with_input_as_target(schema: Schema, transforms: Transforms, anomaly: Mapping[str, Any] | None) -> Schema:
    """The schema, whose target is the model's input where there is no other.

    Args:
        schema: with a target of the task `reconstruction` where there is none.
        transforms: of the inputs.
        anomaly: the keys of `data.anomaly`, if the error is the score of an anomaly.

    Raises:
        SchemaError: the model gets several inputs, or one that is not of numbers.
    """
    if schema.target.task != "reconstruction":
        return schema
    if anomaly is None:
        target = reconstructed(transforms)
    else:
        target = reconstructed(transforms, "data.anomaly is stated")
        target = target.model_copy(update={"task": "anomaly", **anomaly})
    return schema.model_copy(update={"target": target})


def usual_rows(
    index: Mapping[str, NDArray[np.int64]], columns: Columns, label: str | None
) -> dict[str, NDArray[np.int64]]:
    """The row numbers of each part, without known anomalies among those that are learned from, which is told.

    Raises:
        SchemaError: the label is not 0 or 1.
        SplitError: no row is left to learn from, or to choose the threshold on.
    """
    found = dict(index)
    if label is None:
        return found
    known = flags(label, columns[label], LABEL) > 0
    for part in ("train", "validation"):
        kept = index[part][~known[index[part]]]
        left_out = len(index[part]) - len(kept)
        if left_out:
            tell(
                f"{left_out} of {len(index[part])} {part} rows are known anomalies ({label}) and are not learned from"
            )
        if not len(kept):
            raise SplitError(
                f"all {len(index[part])} {part} rows are known anomalies ({label}); expected usual ones; add rows, or "
                "change data.split"
            )
        found[part] = kept
    return found


def known_anomalies(target: Target, columns: Columns) -> NDArray[np.float32]:
    """1 of each known anomaly, else 0, float32 `(n,)`; NaN where the data has no label."""
    if target.label is None:
        return np.full(rows_of(columns), np.nan, np.float32)
    return flags(target.label, columns[target.label], LABEL)
