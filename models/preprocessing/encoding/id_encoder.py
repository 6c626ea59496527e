"""Ids as small whole numbers, which an Embedding layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing, text_of
from tidegate.models.preprocessing.encoding.encoders import InputSpec
from tidegate.models.preprocessing.encoding.hashed_ids import hashed as hashed_place

UNKNOWN = 0  # a single id that was not in the training rows


class IdEncoder:
    """One id a row as its place among the known ones, or an array of numbers that are ids already.

    A single id, a text or a whole number: 0 is one that is not known, and 1 to n are the known ones in their order; a
    missing one is not known either, or is n + 1 where it has an id of its own. Hashed: 0 is a missing one, and 1 to
    `hashed` all others, by their hash. An array `(k,)` of whole numbers: as it
    is, from 0 to `size` - 1, and `unknown` in place of all others.

    Args:
        name: the column's.
        shape: of a row.
        known: sorted, of a single id.
        size: distinct ids of an array.
        unknown: see above.
        own: whether a missing id has its own one.
        hashed: see above; 0: by vocabulary.
    """

    def __init__(
        self,
        name: str,
        shape: list[int],
        known: Sequence[int] | Sequence[str] = (),
        size: int = 0,
        unknown: int = UNKNOWN,
        own: bool = False,
        hashed: int = 0,
    ) -> None:
        self.content = {"name": name, "shape": shape, "known": list(known), "size": size, "unknown": unknown}
        self.content |= ({"own": True} if own else {}) | ({"hashed": hashed} if hashed else {})
        self._name, self._size, self._unknown, self._own = name, size, unknown, own
        self._hashed = hashed
        self._places = {value: place for place, value in enumerate(known, 1)}
        ids = size if shape else (hashed or len(known)) + 1 + own
        self.spec = InputSpec(tuple(shape) or (1,), "int32", "id", ids)

    def apply(self, columns: Columns) -> NDArray[np.int32]:
        """Encode `n` rows as `(n, *shape)`, a single id as `(n, 1)`."""
        column = columns[self._name]
        if column.ndim > 1:
            return self._array(column)
        if self._hashed:
            found = [1 + hashed_place(text_of(value) or "", self._hashed) for value in column.tolist()]
            return (
                np.where(missing(column), UNKNOWN, np.array(found, np.int32)).astype(np.int32).reshape(-1, 1)
            )
        found = [self._places.get(value, UNKNOWN) for value in column.tolist()]
        encoded = np.array(found, np.int32).reshape(-1, 1)
        if self._own:
            encoded[missing(column), 0] = len(self._places) + 1
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number per id."""
        single = columns[self._name].ndim == 1
        return {self._name: (parts[:, 0] if single else parts).tolist()}

    def described(self) -> dict[str, str]:
        """By column, what the model gets."""
        last = self.spec.vocabulary - 1
        if self.content["shape"]:
            return {self._name: f"ids 0…{last}, as they are; {self._unknown} stands for any other"}
        if self._hashed:
            return {self._name: f"ids 0…{last} by their hash, 0 is a missing one"}
        own = f", {last} a missing one" if self._own else ""
        return {self._name: f"ids 0…{last}, 0 is one not in the training rows{own}"}

    def unseen(self, columns: Columns) -> dict[str, int]:
        """By column, the rows with an id that is not known; a missing one is not counted."""
        column = columns[self._name]
        if self._hashed:
            return {self._name: 0}  # which were in the training rows is not kept
        if column.ndim > 1:
            return {self._name: int(self._outside(column).any(axis=1).sum())}
        absent = missing(column).tolist()
        pairs = zip(column.tolist(), absent, strict=True)
        return {self._name: sum(not gone and value not in self._places for value, gone in pairs)}

    def _outside(self, column: Array) -> NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):
            return np.asarray(~((column >= 0) & (column < self._size)))

    def _array(self, column: Array) -> NDArray[np.int32]:
        outside = self._outside(column)
        return np.where(outside, self._unknown, np.where(outside, 0, column)).astype(np.int32)
