"""Rows near held-out ones, at the limits of the contract, and such as cover every category, word and id."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing
from tidegate.models.data.item_lists import WRITTEN
from tidegate.models.preprocessing.schema import Field
from tidegate.models.probing.mixtures import cut_sequences, joined, tokens_of, whole

NUMBERS = ("numeric", "image", "sequence")
UNSEEN = "(never seen)"
NOISE = 0.1  # of the column's standard deviation
BEYOND = 2.0  # ranges below the smallest and above the largest number
MOST_WHOLE = 128  # rows that have whole numbers from the smallest to the largest
MOST_LENGTHENED = 4  # texts that are joined to make a long one


def perturb(fields: Sequence[Field], rows: Columns, random: np.random.Generator) -> Columns:
    """Rows near the given ones: noise on numbers within their range, some values of other rows, words moved."""
    return {field.name: _near(field, rows[field.name], random) for field in fields}


def extremes(fields: Sequence[Field], rows: Columns, count: int, random: np.random.Generator) -> Columns:
    """Rows at the limits of the contract: smallest and largest numbers, noise, missing values, no and long texts.

    A number that is whole in all rows stays whole and within what the rows have, because it may be an id. A value is
    missing only in a column that has missing ones.
    """
    return {field.name: _extreme(field, rows[field.name], count, random) for field in fields}


def cover(
    fields: Sequence[Field],
    rows: Columns,
    vocabularies: Mapping[str, Sequence[Any]],
    count: int,
    random: np.random.Generator,
) -> Columns:
    """At most `count` rows that have every category, every word, and whole numbers from the smallest to the largest.

    Args:
        fields: the columns.
        rows: held-out rows.
        vocabularies: the known categories, words or ids by column.
        count: rows at most; {} is returned where nothing is to be covered.
        random: chooses all other values.
    """
    needed = max((_needed(field, rows[field.name], vocabularies) for field in fields), default=0)
    count = min(needed, count)
    return {
        field.name: _covered(field, rows[field.name], vocabularies.get(field.name, ()), count, random)
        for field in (fields if count else ())
    }


def _chosen(column: Array, count: int, random: np.random.Generator) -> Array:
    return column[random.integers(0, len(column), count)]


def _near(field: Field, column: Array, random: np.random.Generator) -> Array:
    if field.kind in WRITTEN:
        return _texts([joined(field, _moved(tokens_of(field, text), random)) for text in column.tolist()])
    if field.kind not in NUMBERS or column.dtype.kind not in "iuf":
        other = random.random(column.shape) < 0.3
        return np.where(other, _chosen(column, len(column), random), column)
    low, high, spread = _range(column)
    noise = random.normal(scale=max(NOISE * spread, 1e-3 * (high - low)), size=column.shape)
    if whole(column):
        noise = np.where(np.abs(noise) < 1, random.integers(-1, 2, column.shape), np.round(noise))
    near: Array = np.clip(column.astype(np.float64) + noise, low, high).astype(column.dtype)
    if field.kind != "sequence":
        return near
    return cut_sequences(near, random.integers(1, column.shape[1] + 1, len(column)))


def _moved(tokens: list[str], random: np.random.Generator) -> list[str]:
    """Some tokens left out, two parts of the text exchanged."""
    kept = [token for token, drop in zip(tokens, random.random(len(tokens)) < 0.2, strict=True) if not drop]
    place = int(random.integers(0, len(kept) + 1))
    return kept[place:] + kept[:place]


def _extreme(field: Field, column: Array, count: int, random: np.random.Generator) -> Array:
    if field.kind in WRITTEN:
        return _texts([_extreme_text(field, column, place, random) for place in range(count)])
    if field.kind not in NUMBERS or column.dtype.kind not in "iuf":
        return _chosen(column, count, random)
    values = np.stack([_extreme_numbers(field, column, place, random) for place in range(count)])
    if field.kind == "sequence":
        return _extreme_lengths(values.astype(column.dtype), random)
    absent = missing(column)
    if absent.any():
        values[random.random(count) < 0.3] = column[absent][0]
    return values.astype(column.dtype)


def _extreme_numbers(
    field: Field, column: Array, place: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """One row: all low, all high, noise in between, only low and high, one element high, or beyond the range."""
    low, high, _ = _range(column)
    shape = column.shape[1:]
    mode = (place + (0 if shape else int(random.integers(0, 6)))) % 6
    beyond = BEYOND * (high - low) * int(not whole(column) and field.kind != "image")
    if mode == 0:
        return np.full(shape, low - beyond)
    if mode == 1:
        return np.full(shape, high + beyond)
    if mode == 2 and shape:
        single = np.full(shape, low)
        single[tuple(random.integers(0, size) for size in shape)] = high
        return single
    if mode == 3:
        return np.where(random.random(shape) < 0.5, low, high)
    if mode == 4 and field.kind == "image" and column.dtype.kind in "iu":
        low, high = 0, np.iinfo(column.dtype).max if column.dtype.itemsize < 4 else high
    noise = random.uniform(low, high, shape)
    return np.round(noise) if whole(column) else noise


def _extreme_lengths(column: Array, random: np.random.Generator) -> Array:
    """Half of the sequences have all steps, the others one or a few."""
    steps = column.shape[1]
    short = random.integers(1, max(2, min(4, steps) + 1), len(column))
    return cut_sequences(column, np.where(random.random(len(column)) < 0.5, steps, short))


def _extreme_text(field: Field, column: Array, place: int, random: np.random.Generator) -> str:
    """No text, words never seen, one word again and again, or a long text."""
    tokens = [
        token
        for text in _chosen(column, MOST_LENGTHENED, random).tolist()
        for token in tokens_of(field, text)
    ]
    if place % 4 == 0 or not tokens:
        return ""
    if place % 4 == 1:
        return joined(field, [UNSEEN if field.tokens != "characters" else "\u2603"] * 3)
    return joined(field, tokens[:1] * len(tokens) if place % 4 == 2 else tokens)


def _needed(field: Field, column: Array, vocabularies: Mapping[str, Sequence[Any]]) -> int:
    """The rows in which every category or word can stand, or that many whole numbers."""
    known = len(vocabularies.get(field.name, ()))
    if field.kind in WRITTEN:
        return -(-known // _text_length(field, column))
    if field.kind == "id":
        return -(-known // max(1, math.prod(column.shape[1:])))
    if field.kind in ("numeric", "id") and column.dtype.kind in "iuf" and whole(column):
        low, high, _ = _range(column)
        return int(min(MOST_WHOLE, -(-(high - low + 1) // max(1, math.prod(column.shape[1:])))))
    return known + 1 if known else 0


def _covered(
    field: Field, column: Array, known: Sequence[Any], count: int, random: np.random.Generator
) -> Array:
    if field.kind in WRITTEN and known:
        length = _text_length(field, column)
        return _texts(
            [
                joined(field, [known[(row * length + place) % len(known)] for place in range(length)])
                for row in range(count)
            ]
        )
    if field.kind == "id" and len(known):
        size = math.prod(column.shape[1:])
        ids = [known[place % len(known)] for place in range(count * size)]
        if column.dtype == object:
            return _texts(ids)
        return np.array(ids, column.dtype).reshape(count, *column.shape[1:])
    if field.kind == "categorical" and known:
        values = [*known, UNSEEN]
        return _texts([values[row % len(values)] for row in range(count)])
    if field.kind in ("numeric", "id") and column.dtype.kind in "iuf" and whole(column):
        low, high, _ = _range(column)
        size = math.prod(column.shape[1:])
        numbers = low + np.arange(count * size) % (high - low + 1)
        return np.asarray(numbers.reshape(count, *column.shape[1:]).astype(column.dtype))
    return _chosen(column, count, random)


def _text_length(field: Field, column: Array) -> int:
    """Tokens of a text that covers words: as many as the longest of some rows."""
    some = column[:64].tolist()
    longest = max((len(tokens_of(field, text)) for text in some), default=1)
    return max(1, min(longest, field.length or longest, 256))


def _range(column: Array) -> tuple[float, float, float]:
    """The smallest and largest number, and the standard deviation; 0 where all are missing."""
    there = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    if not there.size:
        return 0.0, 0.0, 0.0
    return float(there.min()), float(there.max()), float(there.astype(np.float64).std())


def _texts(values: Sequence[Any]) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column
