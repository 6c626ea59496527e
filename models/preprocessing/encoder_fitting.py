"""How encoders are fitted: the training rows are read once, in parts, and reduced to a few numbers.

So rows in memory and streamed rows give the same transforms, up to the last bits of a scale if there are more than
`CHUNK` rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing, rows_between, rows_of
from tidegate.models.data.dates import DAY, YEAR_FIRST, has_time, seconds
from tidegate.models.preprocessing.encoders import (
    LONGEST_TEXT,
    MOST_CATEGORIES,
    MOST_WORDS,
    TOKENIZERS,
    WHITES,
    ArrayEncoder,
    Encoder,
    ImageEncoder,
    SequenceEncoder,
    TextEncoder,
)
from tidegate.models.preprocessing.encoding.features_encoder import FeaturesEncoder
from tidegate.models.preprocessing.encoding.id_encoder import UNKNOWN, IdEncoder
from tidegate.models.preprocessing.encoding.number_scale import Moments, NumberScale
from tidegate.models.preprocessing.schema import Field

CHUNK = 8192  # rows whose float64 copy is in memory at once
MOST_COUNTED = 500_000  # distinct words or categories; beyond it the rarest are dropped from time to time
UNCUT = 0.95  # fraction of the texts that are read whole if no length is stated


class EncoderFitter(Protocol):
    """Fits one encoder."""

    def add(self, columns: Columns) -> None:
        """Add training rows."""

    def encoder(self) -> Encoder:
        """The fitted encoder."""


class Frequencies:
    """Counts each value; if there are too many distinct ones, the rarest half is dropped."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, values: Iterable[str]) -> None:
        """Count more values."""
        self._counts.update(values)
        if len(self._counts) > MOST_COUNTED:
            self._counts = Counter(dict(self._counts.most_common(MOST_COUNTED // 2)))

    def total(self, values: Iterable[str]) -> int:
        """How often these values were counted together."""
        return sum(self._counts[value] for value in values)

    def ranked(self) -> list[str]:
        """The values, the most frequent first, equally frequent ones by name."""
        return sorted(self._counts, key=lambda value: (-self._counts[value], value))


class FeaturesFitter:
    """Scales of numbers and dates, and the most frequent categories."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        self._scales = {field.name: NumberScale(field.scale) for field in fields if field.kind == "numeric"}
        self._counts = {field.name: Frequencies() for field in fields if field.kind == "categorical"}
        self._dates = {field.name: DateFitter(field) for field in fields if field.kind == "date"}

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        for name, scale in self._scales.items():
            scale.add(columns[name])
        for name, counts in self._counts.items():
            counts.add(value for value in columns[name].tolist() if value is not None)
        for name, dates in self._dates.items():
            dates.add(columns[name])

    def encoder(self) -> FeaturesEncoder:
        """The fitted encoder."""
        fitted = {name: scale.centre_and_scale() for name, scale in self._scales.items()}
        fields = {field.name: field for field in self._fields}
        fill = {name: scale.fill(fields[name].missing, *fitted[name]) for name, scale in self._scales.items()}
        known, other = {}, []
        for name, counts in self._counts.items():
            ranked, most = counts.ranked(), fields[name].limit or MOST_CATEGORIES
            known[name] = sorted(ranked[:most])
            if len(ranked) > most and fields[name].other is not False:
                other.append(name)
        return FeaturesEncoder(
            list(self._scales),
            [centre for centre, _ in fitted.values()],
            [scale for _, scale in fitted.values()],
            known,
            scaling={
                name: scale.method for name, scale in self._scales.items() if scale.method != "standard"
            },
            fill={name: value for name, value in fill.items() if value},
            other=other,
            dates={name: dates.content() for name, dates in self._dates.items()},
            own=[field.name for field in self._fields if field.missing == "own"],
        )

    def beyond(self) -> dict[str, tuple[int, int, int]]:
        """By category field with more categories than its limit: all, the limit, and training rows beyond it."""
        found = {}
        for field in self._fields:
            if field.kind == "categorical":
                ranked, most = self._counts[field.name].ranked(), field.limit or MOST_CATEGORIES
                if len(ranked) > most:
                    found[field.name] = (len(ranked), most, self._counts[field.name].total(ranked[most:]))
        return found


class DateFitter:
    """Mean and deviation of days, and whether there are times of day."""

    def __init__(self, field: Field) -> None:
        self._format, self._moments, self._time = field.format or YEAR_FIRST, Moments(), False

    def add(self, column: Array) -> None:
        """Add training rows."""
        stamps = seconds(column, self._format)
        self._moments.add(stamps / DAY)
        self._time = self._time or has_time(stamps)

    def content(self) -> dict[str, Any]:
        """What `FeaturesEncoder` needs to know."""
        mean, scale = self._moments.mean_and_scale()
        return {"format": self._format, "mean": mean, "scale": scale, "time": self._time}


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


class IdFitter:
    """The ids of the training rows; of arrays the largest one."""

    def __init__(self, field: Field) -> None:
        self._field, self._counts, self._most = field, Counter[Any](), -1

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        column = columns[self._field.name]
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
        if np.dtype(self._field.dtype).kind in "iu" and 127 < self._largest <= WHITES[-1]:
            return next(float(white) for white in WHITES if self._largest <= white)
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
    "id": IdFitter,
}


def _plain(value: Any) -> Any:
    """An id as JSON has it: a column of whole numbers with missing ones holds floats."""
    return int(value) if isinstance(value, float) else value


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
