"""How each kind of column becomes a model input. Arrays are prepared once, so that encoding one row is cheap.

Each encoder is built from its `content`, which is JSON: `preprocessing.encoder_fitting` fits it on the training rows,
the content is stored, and the endpoint builds the encoder again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.sequences import lengths, present

MOST_CATEGORIES = 1000  # per field, the most frequent ones; all others count as unseen
MOST_WORDS = 20_000
LONGEST_TEXT = 512  # words
LARGEST = 1e6  # standard deviations: a limit that keeps any finite number finite in float32
WORD = re.compile(r"\w+")
VALUES = 1 << 15  # values whose float64 copy is in memory at once: they fit into a core's own cache


@dataclass(frozen=True)
class ColumnPart:
    """A column of the data in a model input.

    Attributes:
        name: the column's.
        places: of its features in the input `features`, ascending; None: the input is this column alone.
        holds: what the model gets, in words.
    """

    name: str
    places: tuple[int, ...] | None
    holds: str


@dataclass(frozen=True)
class InputSpec:
    """One model input: shape of a row, dtype, kind, and for texts the number of distinct token ids.

    Attributes:
        raw: of images, whether they are the stored numbers; else they are at most 1.
        columns: the columns of the data that it holds.
    """

    shape: tuple[int, ...]
    dtype: str
    kind: str
    vocabulary: int = 0
    raw: bool = False
    columns: tuple[ColumnPart, ...] = field(default=(), compare=False)


class Encoder(Protocol):
    """Encodes raw columns as one model input."""

    content: dict[str, Any]
    spec: InputSpec

    def apply(self, columns: Columns) -> Array:
        """Encode `n` rows as an array `(n, *spec.shape)` of `spec.dtype`."""

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """Attributions `(n, *spec.shape)` by raw column, one entry per row; see `Transforms`."""


class FeaturesEncoder:
    """All single numbers and categories as one float32 vector: numbers, then a one-hot block per category field."""

    def __init__(
        self, names: list[str], mean: list[float], scale: list[float], categories: dict[str, list[str]]
    ) -> None:
        self.content = {"names": names, "mean": mean, "scale": scale, "categories": categories}
        self._names, self._mean, self._factor = names, np.array(mean), 1.0 / np.array(scale)
        self._blocks: list[tuple[str, dict[str, int]]] = []
        width = len(names)
        for name, values in categories.items():
            self._blocks.append((name, {value: width + place for place, value in enumerate(values)}))
            width += len(values)
        self._first = next(iter([*names, *categories]))
        self.spec = InputSpec((width,), "float32", "numeric")

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, width)`."""
        rows = len(columns[self._first])
        encoded = np.zeros((rows, *self.spec.shape), np.float32)
        if self._names:
            encoded[:, : len(self._names)] = self._numbers(columns, rows)
        for name, places in self._blocks:
            for row, value in enumerate(columns[name].tolist()):
                place = places.get(value)
                if place is not None:
                    encoded[row, place] = 1.0
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number per column; for a category the sum over its block."""
        del columns
        found = {name: parts[:, place].tolist() for place, name in enumerate(self._names)}
        for name, places in self._blocks:
            found[name] = parts[:, list(places.values())].sum(axis=1).tolist()
        return found

    def _numbers(self, columns: Columns, rows: int) -> NDArray[np.float64]:
        block = np.empty((rows, len(self._names)))
        for place, name in enumerate(self._names):
            block[:, place] = columns[name]
        return _standardised(block, self._mean, self._factor)


class ArrayEncoder:
    """One numeric array per row, standardised by one mean and one scale."""

    def __init__(self, name: str, shape: list[int], mean: float, scale: float) -> None:
        self.content = {"name": name, "shape": shape, "mean": mean, "scale": scale}
        self._name, self._mean, self._factor = name, np.float64(mean), np.float64(1.0 / scale)
        self.spec = InputSpec(tuple(shape), "float32", "numeric")

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, *shape)`."""
        column = columns[self._name]
        encoded = np.empty((len(column), *self.spec.shape), np.float32)
        rows = max(1, VALUES // max(1, math.prod(self.spec.shape)))
        for start in range(0, len(column), rows):
            block = column[start : start + rows]
            encoded[start : start + rows] = _standardised(block, self._mean, self._factor)
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number for each element of the array."""
        del columns
        return {self._name: parts.tolist()}


class SequenceEncoder:
    """A sequence of any length, each feature standardised by its own mean and scale; the last feature marks steps.

    It is 1 for a step and 0 for padding, which is all zeros, so that a model can tell padding from average values.
    """

    def __init__(self, name: str, shape: list[int], mean: list[float], scale: list[float]) -> None:
        self.content = {"name": name, "shape": shape, "mean": mean, "scale": scale}
        self._name, self._mean, self._factor = name, np.array(mean), 1.0 / np.array(scale)
        self.spec = InputSpec((shape[0], len(mean) + 1), "float32", "sequence")

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, steps, features + 1)`."""
        column = columns[self._name]
        encoded = np.empty((len(column), *self.spec.shape), np.float32)
        encoded[:, :, -1] = present(column)
        steps = column[:, :, None] if column.ndim == 2 else column
        encoded[:, :, :-1] = _standardised(steps, self._mean, self._factor)
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number for each value of the steps that are not padding, in the raw shape."""
        column = columns[self._name]
        shaped = parts[:, :, 0] if column.ndim == 2 else parts[:, :, :-1]
        return {
            self._name: [row[:steps].tolist() for row, steps in zip(shaped, lengths(column), strict=True)]
        }


class ImageEncoder:
    """One image per row, divided by one number; gray images get a channel axis; NaN pixels become 0.

    `raw` images are the stored numbers, divided by 1; without it a pixel is at most about 1.
    """

    def __init__(self, name: str, shape: list[int], divisor: float, raw: bool = False) -> None:
        self.content = {"name": name, "shape": shape, "divisor": divisor} | ({"raw": True} if raw else {})
        self._name, self._factor = name, np.float32(1.0 / divisor)
        channels = shape[2] if len(shape) > 2 else 1
        self.spec = InputSpec((shape[0], shape[1], channels), "float32", "image", raw=raw)

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, h, w, c)`."""
        column = columns[self._name]
        encoded = np.multiply(column, self._factor, dtype=np.float32, casting="unsafe")
        encoded = encoded.reshape(len(column), *self.spec.shape)
        if column.dtype.kind == "f":
            encoded[~np.isfinite(encoded)] = 0.0
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """A map `(h, w)`: one number per pixel, summed over its channels."""
        del columns
        return {self._name: parts.sum(axis=3).tolist()}


class TextEncoder:
    """Words or characters as token ids: 0 is padding, 1 an unseen token; longer texts are cut at the end."""

    def __init__(self, name: str, words: list[str], length: int, tokens: str = "words") -> None:
        self.content = {"name": name, "words": words, "length": length, "tokens": tokens}
        self._name, self._length, self._cut = name, length, TOKENIZERS[tokens]
        self._numbers = {word: number for number, word in enumerate(words, 2)}
        self.spec = InputSpec((length,), "int32", "text", len(words) + 2)

    def apply(self, columns: Columns) -> NDArray[np.int32]:
        """Encode `n` rows as `(n, length)`; a missing text is all padding."""
        column = columns[self._name].tolist()
        encoded = np.zeros((len(column), self._length), np.int32)
        number = self._numbers.get
        for row, text in enumerate(column):
            words = self._cut(text)[: self._length]
            encoded[row, : len(words)] = [number(word, 1) for word in words]
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """Each token that the model reads, as it is in the text, with one number."""
        rows = zip(columns[self._name].tolist(), parts.tolist(), strict=True)
        return {self._name: [self._tokens(text, numbers) for text, numbers in rows]}

    def _tokens(self, text: str | None, numbers: list[float]) -> list[dict[str, Any]]:
        return [
            {"token": token, "attribution": number}
            for token, number in zip(self._cut(text), numbers, strict=False)
        ]


def build(encoder: str, content: Mapping[str, Any]) -> Encoder:
    """Build an encoder, a key of ENCODERS, from its content."""
    built: Encoder = ENCODERS[encoder](**content)
    return built


ENCODERS: dict[str, Any] = {
    "features": FeaturesEncoder,
    "array": ArrayEncoder,
    "image": ImageEncoder,
    "sequence": SequenceEncoder,
    "text": TextEncoder,
}


def _words(text: str | None) -> list[str]:
    return WORD.findall(text.lower()) if text else []


def _characters(text: str | None) -> list[str]:
    return list(text or "")


TOKENIZERS = {"words": _words, "characters": _characters}


def _standardised(raw: Array, mean: Any, factor: Any) -> NDArray[np.float64]:
    block: NDArray[np.float64] = np.subtract(raw, mean, dtype=np.float64)
    block *= factor
    # Comparing is cheaper than clipping; a NaN is never within the limits.
    if block.size and not (block.min() >= -LARGEST and block.max() <= LARGEST):
        np.minimum(np.maximum(block, -LARGEST, out=block), LARGEST, out=block)
        block[~np.isfinite(raw)] = 0.0  # the training mean, standardised
    return block
