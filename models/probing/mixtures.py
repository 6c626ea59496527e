"""Rows between two rows, within the contract: categories stay categories, whole numbers whole, padding at the end."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.item_lists import LISTS, WRITTEN, items_of, items_text
from tidegate.models.data.sequences import lengths
from tidegate.models.preprocessing.schema import Field

MIXED = ("numeric", "image", "sequence")  # kinds whose numbers may be averaged


def mix(fields: Sequence[Field], first: Columns, second: Columns, share: NDArray[np.float64]) -> Columns:
    """Rows on the way from `first` to `second`.

    Numbers are averaged, texts get the beginning of the second one, sequences have a length in between, and every
    other value changes at a point of its column's own.

    Args:
        fields: the columns to mix.
        first, second: `n` rows each.
        share: of the second, 0 to 1, `(n,)`.
    """
    return {field.name: _mixed(field, first[field.name], second[field.name], share) for field in fields}


def whole(column: Array) -> bool:
    """Whether all numbers of a column are whole: ids, counts or flags, which must stay so."""
    if column.dtype.kind != "f":
        return column.dtype.kind in "iub"
    there = column[np.isfinite(column)]
    return bool((there == np.floor(there)).all())


def _mixed(field: Field, first: Array, second: Array, share: NDArray[np.float64]) -> Array:
    if field.kind in WRITTEN:
        return _texts(field, first, second, share)
    late = share > 0.25 + 0.5 * (zlib.crc32(field.name.encode()) % 997) / 997
    if field.kind not in MIXED or first.dtype.kind not in "iuf":
        return np.where(late.reshape(-1, *(1,) * (first.ndim - 1)), second, first)
    column = _numbers(first, second, share)
    if field.kind == "sequence":
        column = _cut(column, first, second, share)
    return column


def _numbers(first: Array, second: Array, share: NDArray[np.float64]) -> Array:
    places = share.reshape(-1, *(1,) * (first.ndim - 1))
    with np.errstate(invalid="ignore"):
        mixed = first.astype(np.float64) * (1 - places) + second.astype(np.float64) * places
    if whole(first) and whole(second):
        mixed = np.round(mixed)
    if first.dtype.kind == "f":
        mixed = np.where(np.isfinite(first), mixed, second)  # a missing number is that of the other row
        mixed = np.where(np.isfinite(second), mixed, first)
    return mixed.astype(first.dtype)


def _cut(column: Array, first: Array, second: Array, share: NDArray[np.float64]) -> Array:
    steps = np.round(lengths(first) * (1 - share) + lengths(second) * share).astype(int)
    return cut_sequences(column, np.maximum(steps, 1))


def cut_sequences(column: Array, steps: NDArray[np.integer]) -> Array:
    """Padded sequences with at most so many steps, `(n,)`; a new array."""
    later = np.arange(column.shape[1])[None] >= steps[:, None]
    return np.where(later if column.ndim == 2 else later[:, :, None], np.nan, column).astype(column.dtype)


def _texts(field: Field, first: Array, second: Array, share: NDArray[np.float64]) -> Array:
    column = np.empty(len(first), object)
    column[:] = [
        joined(field, _spliced(tokens_of(field, one), tokens_of(field, other), part))
        for one, other, part in zip(first.tolist(), second.tolist(), share.tolist(), strict=True)
    ]
    return column


def _spliced(first: list[str], second: list[str], share: float) -> list[str]:
    place = round(share * max(len(first), len(second)))
    return second[:place] + first[place:]


def tokens_of(field: Field, text: Any) -> list[str]:
    """What a text is cut into here: characters, words between spaces, or the items of a list."""
    if field.kind in LISTS:
        return items_of(text, field.kind)
    return list(text or "") if field.tokens == "characters" else (text or "").split()


def joined(field: Field, tokens: Sequence[str]) -> str:
    """A text of these tokens."""
    if field.kind in LISTS:
        return items_text(tokens)
    return ("" if field.tokens == "characters" else " ").join(tokens)
