"""How encoders are fitted: the training rows are read once, in parts, and reduced to a few numbers.

So rows in memory and streamed rows give the same transforms, up to the last bits of a scale if there are more than
`CHUNK` rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, rows_between, rows_of
from tidegate.models.preprocessing.encoders import (
    LONGEST_TEXT,
    MOST_CATEGORIES,
    MOST_WORDS,
    TOKENIZERS,
    ArrayEncoder,
    Encoder,
    FeaturesEncoder,
    ImageEncoder,
    SequenceEncoder,
    TextEncoder,
)
from tidegate.models.preprocessing.schema import Field

CHUNK = 8192  # rows whose float64 copy is in memory at once
MOST_COUNTED = 500_000  # distinct words or categories; beyond it the rarest are dropped from time to time
DEPTHS = (8, 10, 12, 14, 16)  # bits of a uint16 pixel that may be in use
UNCUT = 0.95  # fraction of the texts that are read whole if no length is stated


class EncoderFitter(Protocol):
    """Fits one encoder."""

    def add(self, columns: Columns) -> None:
        """Add training rows."""

    def encoder(self) -> Encoder:
        """The fitted encoder."""


class Moments:
    """Mean and standard deviation of numbers that come in parts; missing numbers are ignored.

    The parts' sums of squared deviations are combined as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances" (1979), equation 2.1b.
    """

    def __init__(self) -> None:
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Array) -> None:
        """Add numbers of any shape."""
        numbers = values.astype(np.float64)
        present = numbers[np.isfinite(numbers)]
        if not present.size:
            return
        mean = float(present.sum() / present.size)
        squares = float(((present - mean) ** 2).sum())
        whole, apart = self.count + present.size, mean - self._mean
        self._squares += squares + apart**2 * (self.count / whole) * present.size
        self._mean = mean if self.count == 0 else self._mean + apart * (present.size / whole)
        self.count = whole

    def mean_and_scale(self) -> tuple[float, float]:
        """The mean and the standard deviation, which is 1 if all numbers are equal; (0, 1) without any number."""
        if self.count == 0:
            return 0.0, 1.0
        deviation = math.sqrt(self._squares / self.count)
        # The deviation of a constant column is rounding noise of about 1e-16 of its mean.
        return self._mean, deviation if deviation > 1e-13 * abs(self._mean) else 1.0


class Frequencies:
    """Counts each value; if there are too many distinct ones, the rarest half is dropped."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, values: Iterable[str]) -> None:
        """Count more values."""
        self._counts.update(values)
        if len(self._counts) > MOST_COUNTED:
            self._counts = Counter(dict(self._counts.most_common(MOST_COUNTED // 2)))

    def ranked(self) -> list[str]:
        """The values, the most frequent first, equally frequent ones by name."""
        return sorted(self._counts, key=lambda value: (-self._counts[value], value))


class FeaturesFitter:
    """Mean and scale of numbers, and the most frequent categories."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._moments = {field.name: Moments() for field in fields if field.kind == "numeric"}
        self._counts = {field.name: Frequencies() for field in fields if field.kind == "categorical"}

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        for name, moments in self._moments.items():
            moments.add(columns[name])
        for name, counts in self._counts.items():
            counts.add(value for value in columns[name].tolist() if value is not None)

    def encoder(self) -> FeaturesEncoder:
        """The fitted encoder."""
        moments = [moments.mean_and_scale() for moments in self._moments.values()]
        known = {name: sorted(counts.ranked()[:MOST_CATEGORIES]) for name, counts in self._counts.items()}
        means, scales = [mean for mean, _ in moments], [scale for _, scale in moments]
        return FeaturesEncoder(list(self._moments), means, scales, known)


class ArrayFitter:
    """One mean and one scale for an array."""

    def __init__(self, field: Field) -> None:
        self._field, self._moments = field, Moments()

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        self._moments.add(columns[self._field.name])

    def encoder(self) -> ArrayEncoder:
        """The fitted encoder."""
        return ArrayEncoder(self._field.name, list(self._field.shape), *self._moments.mean_and_scale())


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

    255 for uint8 images brighter than 127; for uint16 the white of the depth in DEPTHS that holds all values, because
    scanners and cameras of 10, 12 or 14 bits write files of 16; else the largest value. 1 with `scale: none`.
    """

    def __init__(self, field: Field) -> None:
        self._field, self._largest = field, 0.0

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        column = columns[self._field.name]
        values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
        if values.size:
            self._largest = max(self._largest, abs(float(values.max())), abs(float(values.min())))

    def encoder(self) -> ImageEncoder:
        """The fitted encoder."""
        raw = self._field.scale == "none"
        return ImageEncoder(
            self._field.name, list(self._field.shape), 1.0 if raw else self._divisor(), raw=raw
        )

    def _divisor(self) -> float:
        if self._field.dtype == "uint8" and self._largest > 127:
            return 255.0
        if self._field.dtype == "uint16":
            return next(float(2**bits - 1) for bits in DEPTHS if self._largest < 2**bits)
        return self._largest or 1.0


class TextFitter:
    """The most frequent words; if no length is stated, 95 of 100 texts fit into it."""

    def __init__(self, field: Field) -> None:
        self._field, self._tokens = field, field.tokens or "words"
        self._counts, self._lengths = Frequencies(), Counter[int]()

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        texts = [TOKENIZERS[self._tokens](text) for text in columns[self._field.name].tolist()]
        self._counts.add(word for words in texts for word in words)
        self._lengths.update(len(words) for words in texts)

    def encoder(self) -> TextEncoder:
        """The fitted encoder."""
        field = self._field
        length = field.length or min(max(math.ceil(quantile(self._lengths, UNCUT)), 1), LONGEST_TEXT)
        words = self._counts.ranked()[: field.vocabulary or MOST_WORDS]
        return TextEncoder(field.name, words, length, self._tokens)


FITTERS: dict[str, Callable[[Field], EncoderFitter]] = {
    "image": ImageFitter,
    "sequence": SequenceFitter,
    "text": TextFitter,
    "numeric": ArrayFitter,
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
