"""How ids are fitted: the ids of the training rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, missing
from tidegate.models.preprocessing.encoding.id_encoder import UNKNOWN, IdEncoder
from tidegate.models.preprocessing.schema import Field


class IdFitter:
    """The ids of the training rows; of arrays the largest one."""

    def __init__(self, field: Field) -> None:
        self._field, self._counts, self._most = field, Counter[Any](), -1

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        column = columns[self._field.name]
        if self._field.hashed:
            return
        if column.ndim > 1:
            self._most = max(self._most, int(np.nanmax(column)) if column.size else -1)
            return
        self._counts.update(column[~missing(column)].tolist())

    def encoder(self) -> IdEncoder:
        """The fitted encoder."""
        field, unknown = self._field, self._field.unknown or UNKNOWN
        if field.shape:
            size = field.vocabulary or max(self._most, unknown) + 1
            return IdEncoder(field.name, list(field.shape), size=size, unknown=unknown)
        if field.hashed:
            return IdEncoder(field.name, [], hashed=field.hashed)
        ranked = sorted(self._counts, key=lambda value: (-self._counts[value], value))
        known = sorted(ranked[: field.vocabulary])
        return IdEncoder(field.name, [], [_plain(value) for value in known], own=field.missing == "own")

    def beyond(self) -> dict[str, tuple[int, int, int]]:
        """If there are more ids than `vocabulary`: by name all, the limit, and training rows beyond it."""
        field, most = self._field, self._field.vocabulary
        if field.shape or most is None or len(self._counts) <= most:
            return {}
        counts = sorted(self._counts.values(), reverse=True)
        return {field.name: (len(counts), most, sum(counts[most:]))}


def _plain(value: Any) -> Any:
    """An id as JSON has it: a column of whole numbers with missing ones holds floats."""
    return int(value) if isinstance(value, float) else value
