"""How encoders are fitted: the training rows are read once, in parts, and reduced to a few numbers.

So rows in memory and streamed rows give the same transforms, up to the last bits of a scale if there are more than
`CHUNK` rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_between, rows_of
from tidegate.models.data.item_lists import LISTS
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.encoders import (
    WHITES,
    ArrayEncoder,
    Encoder,
    ImageEncoder,
    SequenceEncoder,
)
from tidegate.models.preprocessing.encoding.frequencies import Frequencies
from tidegate.models.preprocessing.encoding.id_fitting import IdFitter
from tidegate.models.preprocessing.encoding.number_scale import Moments, NumberScale
from tidegate.models.preprocessing.encoding.text_encoder import (
    LONGEST_TEXT,
    MOST_WORDS,
    TextEncoder,
    tokenizer,
)
from tidegate.models.preprocessing.encoding.text_rules import FIRST_RULE, RULE
from tidegate.models.preprocessing.schema import Field

CHUNK = 8192  # rows whose float64 copy is in memory at once
UNCUT = 0.95  # fraction of the texts that are read whole if no length is stated


class EncoderFitter(Protocol):
    """Fits one encoder."""

    def add(self, columns: Columns) -> None:
        """Add training rows."""

    def encoder(self) -> Encoder:
        """The fitted encoder."""


class ArrayFitter:
    """One mean and one scale for an array."""

    def __init__(self, field: Field) -> None:
        self._field, self._scale = field, NumberScale(field.scale)

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        self._scale.add(columns[self._field.name])

    def encoder(self) -> ArrayEncoder:
        """The fitted encoder."""
        fitted = self._scale.centre_and_scale()
        fill = self._scale.fill(self._field.missing, *fitted)
        return ArrayEncoder(self._field.name, list(self._field.shape), *fitted, self._scale.method, fill)


class SequenceFitter:
    """Mean and scale of each feature, over the steps that exist."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._moments = [Moments() for _ in range(field.shape[1] if len(field.shape) > 1 else 1)]

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        column = columns[self._field.name]
        features = column[:, :, None] if column.ndim == 2 else column
        for place, moments in enumerate(self._moments):
            moments.add(features[:, :, place])

    def encoder(self) -> SequenceEncoder:
        """The fitted encoder."""
        moments = [moments.mean_and_scale() for moments in self._moments]
        means, scales = [mean for mean, _ in moments], [scale for _, scale in moments]
        return SequenceEncoder(self._field.name, list(self._field.shape), means, scales)


class ImageFitter:
    """The number that images are divided by, so that the model gets 0 to 1.

    Of whole numbers above 127 the first of WHITES that none is above, 255 for uint8, because scanners and cameras of
    10, 12 or 14 bits write files of 16; else the largest value. 1 with `scale: none`.
    """

    def __init__(self, field: Field) -> None:
        self._field, self._least, self._most = field, np.inf, -np.inf

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        column = columns[self._field.name]
        values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
        if values.size:
            self._least, self._most = (
                min(self._least, float(values.min())),
                max(self._most, float(values.max())),
            )

    def encoder(self) -> ImageEncoder:
        """The fitted encoder."""
        raw = self._field.scale == "none"
        divisor, between = 1.0 if raw else self._divisor(), [self._least, self._most]
        return ImageEncoder(
            self._field.name, list(self._field.shape), divisor, raw, between if self._least < 0 else None
        )

    def _divisor(self) -> float:
        largest = max(abs(self._least), abs(self._most)) if self._least <= self._most else 0.0
        if np.dtype(self._field.dtype).kind in "iu" and 127 < largest <= WHITES[-1]:
            return next(float(white) for white in WHITES if largest <= white)
        return largest or 1.0


class TextFitter:
    """The most frequent words; if no length is stated, 95 of 100 texts fit into it, and all lists."""

    def __init__(self, field: Field) -> None:
        self._field, self._tokens = field, field.kind if field.kind in LISTS else field.tokens or "words"
        self._counts, self._lengths = Frequencies(), Counter[int]()

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        if self._tokens == "whole":
            return
        try:
            texts = list(map(tokenizer(self._tokens), columns[self._field.name].tolist()))
        except SchemaError as error:
            raise SchemaError(f"input {self._field.name!r}: {error}") from error
        if not self._field.hashed:  # which needs no list of them, and is made for very many
            self._counts.add(word for words in texts for word in words)
        self._lengths.update(len(words) for words in texts)

    def encoder(self) -> TextEncoder:
        """The fitted encoder."""
        field = self._field
        if self._tokens == "whole":
            return TextEncoder(field.name, [], 1, self._tokens, FIRST_RULE)
        share = 1.0 if field.kind in LISTS else UNCUT
        length = field.length or min(max(math.ceil(quantile(self._lengths, share)), 1), LONGEST_TEXT)
        known = 0 if field.hashed else field.vocabulary or (None if field.kind == "ids" else MOST_WORDS)
        words = self._counts.ranked()[:known]
        return TextEncoder(field.name, words, length, self._tokens, RULE, field.hashed or 0)


FITTERS: dict[str, Callable[[Field], EncoderFitter]] = {
    "image": ImageFitter,
    "sequence": SequenceFitter,
    "text": TextFitter,
    "tokens": TextFitter,
    "ids": TextFitter,
    "numeric": ArrayFitter,
    "id": IdFitter,
}


def quantile(counts: Counter[int], share: float) -> float:
    """The `share` quantile of counted whole numbers, interpolated as by `numpy.percentile`."""
    values = np.array(sorted(counts))
    ends: NDArray[np.int64] = np.cumsum([counts[value] for value in values.tolist()])
    place = (ends[-1] - 1) * share
    low, high = (int(values[np.searchsorted(ends, rank, "right")]) for rank in (int(place), math.ceil(place)))
    part = place - int(place)
    # NumPy interpolates from the nearer end, which matters for rounding.
    return float(high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part)


def in_parts(columns: Columns, size: int = CHUNK) -> Iterator[Columns]:
    """The same rows, `size` at a time."""
    for start in range(0, rows_of(columns), size):
        yield rows_between(columns, start, start + size)
