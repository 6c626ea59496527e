"""Columns as a trained model of others takes them: the values as they are, in the shape and dtype of its input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.preprocessing.encoding.encoders import InputSpec

TEXTS = "str"


class RawEncoder:
    """One or several columns as one input of a model that has its own preprocessing.

    Args:
        names: the columns; several single values are joined in this order.
        shape: of a row of the input; () is one value.
        dtype: of the input, NumPy's name, or "str" for texts.
        fill: by column, what a missing number becomes; 0 where it is not given. A missing text is an empty one.
        categories: by column, the categories that clients may send.
    """

    def __init__(
        self,
        names: list[str],
        shape: list[int],
        dtype: str,
        fill: Mapping[str, float] | None = None,
        categories: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.content: dict[str, Any] = {"names": names, "shape": shape, "dtype": dtype}
        self.content |= {"fill": dict(fill)} if fill else {}
        self.content |= {"categories": dict(categories)} if categories else {}
        self._names, self._dtype, self._fill = names, dtype, dict(fill or {})
        self.categories = dict(categories or {})
        self.spec = InputSpec(tuple(shape), dtype, "numeric")

    def apply(self, columns: Columns) -> Array:
        """Encode `n` rows as `(n, *shape)`; texts as an array of Python strings."""
        parts = [self._filled(name, columns[name]) for name in self._names]
        whole = parts[0] if len(parts) == 1 else np.stack(parts, axis=1)
        return whole.reshape(len(whole), *self.spec.shape)

    def _filled(self, name: str, column: Array) -> Array:
        absent = missing(column)
        if self._dtype == TEXTS:
            return np.where(absent, "", column).astype(object)
        known = np.where(absent, self._fill.get(name, 0.0), column) if absent.any() else column
        return np.asarray(known.astype(self._dtype))

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number for each value of the columns."""
        flat = parts.reshape(len(parts), -1)
        if len(self._names) == 1:
            return {self._names[0]: flat.reshape(columns[self._names[0]].shape).tolist()}
        return {name: flat[:, place].tolist() for place, name in enumerate(self._names)}

    def described(self) -> dict[str, str]:
        """What the model gets."""
        held = "as it is" if math.prod(self.spec.shape) == len(self._names) else "as they are"
        return dict.fromkeys(self._names, f"{held}, {self._dtype}")
