"""The weights of rows, `data.weight`: how much each counts in the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.errors import SchemaError


def check_weights(name: str | None, splits: Mapping[str, Columns]) -> None:
    """Refuse weights that no loss can be computed with.

    Args:
        name: their column; None: the rows have none.
        splits: the rows of each part.

    Raises:
        SchemaError: a weight is no number, missing, infinite or negative, or all of a part that is learned from are 0.
    """
    for part, columns in splits.items() if name is not None else ():
        weights = weights_of(str(name), columns)
        if part != "test" and len(weights) and not weights.any():
            raise SchemaError(
                f"data.weight {name!r} is 0 in all {len(weights)} {part} rows; expected some above 0; correct it, or "
                "leave data.weight out"
            )


def weights_of(name: str, columns: Columns) -> NDArray[np.float32]:
    """The weights of rows, float32 `(n,)`.

    Raises:
        SchemaError: a weight is no number, missing, infinite or negative.
    """
    column = columns[name]
    if column.ndim > 1 or column.dtype == object:
        held = "texts" if column.dtype == object else f"rows of shape {column.shape[1:]}"
        raise SchemaError(
            f"data.weight {name!r} holds {held}; expected one number per row, 0 or more; name another column"
        )
    weights = column.astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise SchemaError(
            f"data.weight {name!r} is {column[wrong[0]]} in {len(wrong)} of {len(column)} rows of one part; expected a "
            "finite number, 0 or more, in each row; correct it, or leave these rows out"
        )
    return weights
