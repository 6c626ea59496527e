"""The input `features`: all single numbers, categories and dates of a row as one vector.

Its order: the numbers; a one-hot block per category field, with `other` last where it has one; a block per date; and
one mark per field whose missing values have a feature of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.cells.spellings import spellings
from tidegate.models.data.columns import Array, Columns, RowColumns, missing
from tidegate.models.preprocessing.encoding.date_parts import described_date, encode_dates, labels_of
from tidegate.models.preprocessing.encoding.encoders import (
    LARGEST,
    LARGEST_RAW,
    SCALED,
    ColumnPart,
    Encoder,
    InputSpec,
    signed_log,
    standardised,
)

OTHER = "other"


class FeaturesEncoder:
    """All single numbers, categories and dates as one float32 vector.

    Args:
        names: the numbers' fields; they are standardised by `mean` and `scale`.
        categories: of each category field, the known ones, sorted.
        scaling: fields with another `scale` than standard, see `preprocessing.schema.Field`.
        fill: what a missing number becomes; 0, the training mean, where it is not given.
        other: category fields with a feature for all values that are not known.
        dates: of each date field `format`, `mean` and `scale` of its days, whether it has a `time`, and where they are
            stated its `parts`, see `encoding.date_parts`, with `mean` and `scale` of its `year`.
        own: fields whose missing values have a feature of their own.
    """

    def __init__(
        self,
        names: list[str],
        mean: list[float],
        scale: list[float],
        categories: dict[str, list[str]],
        scaling: Mapping[str, str] | None = None,
        fill: Mapping[str, float] | None = None,
        other: list[str] | None = None,
        dates: Mapping[str, Mapping[str, Any]] | None = None,
        own: list[str] | None = None,
    ) -> None:
        self.content: dict[str, Any] = {
            "names": names,
            "mean": mean,
            "scale": scale,
            "categories": categories,
        }
        more = {"scaling": scaling, "fill": fill, "other": other, "dates": dates, "own": own}
        self.content |= {key: value for key, value in more.items() if value}
        self._names, self._mean, self._factor = names, np.array(mean), 1.0 / np.array(scale)
        self._scaling = dict(scaling or {})
        self._log = [place for place, name in enumerate(names) if self._scaling.get(name) == "log"]
        raw = [self._scaling.get(name) == "none" for name in names]
        self._limit: Any = np.where(raw, LARGEST_RAW, LARGEST) if any(raw) else LARGEST
        self._fill = np.array([(fill or {}).get(name, 0.0) for name in names]) if fill else None
        self._blocks: list[tuple[str, dict[str, int], int | None]] = []
        self._dates: list[tuple[str, int, Mapping[str, Any]]] = []
        self.labels = list(names)
        self.places = {name: [place] for place, name in enumerate(names)}
        for name, values in categories.items():
            start, rest = len(self.labels), name in (other or ())
            self._add(name, [*(f"{name}={value}" for value in values), *([f"{name}: {OTHER}"] * rest)])
            known = {value: start + place for place, value in enumerate(values)}
            known |= {other: known[value] for other, value in spellings(tuple(values)).items()}
            self._blocks.append((name, known, start + len(values) if rest else None))
        for name, about in (dates or {}).items():
            self._dates.append((name, len(self.labels), about))
            self._add(name, [f"{name}: {label}" for label in labels_of(about)])
        self._own = [(name, len(self.labels) + place) for place, name in enumerate(own or ())]
        for name, _ in self._own:
            self._add(name, [f"{name} missing"])
        self._first = next(iter(self.places), "")
        self._number_names, self._packer = tuple(names), struct.Struct(f"{len(names)}f")
        self._steps = list(zip(self._mean.tolist(), self._factor.tolist(), strict=True))
        self.spec = InputSpec((len(self.labels),), "float32", "numeric")

    def _add(self, name: str, labels: list[str]) -> None:
        start = len(self.labels)
        self.places[name] = [*self.places.get(name, []), *range(start, start + len(labels))]
        self.labels += labels

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, width)`."""
        quick = self._one_row(columns) if type(columns) is RowColumns else None
        if quick is not None and len(self.labels) == len(self._names):
            return quick
        rows = len(columns[self._first])
        encoded = np.zeros((rows, *self.spec.shape), np.float32)
        if self._names:
            encoded[:, : len(self._names)] = self._numbers(columns, rows) if quick is None else quick
        for name, places, rest in self._blocks:
            for row, value in enumerate(columns[name].tolist()):
                place = places.get(value, rest)
                if place is not None and value is not None:
                    encoded[row, place] = 1.0
        for name, start, about in self._dates:
            encode_dates(columns[name], about, encoded[:, start:])
        for name, place in self._own:
            encoded[:, place] = missing(columns[name])
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number per column; for a category or a date the sum over its block."""
        del columns
        return {
            name: parts[:, places[0]].tolist() if len(places) == 1 else parts[:, places].sum(axis=1).tolist()
            for name, places in self.places.items()
        }

    def described(self) -> dict[str, str]:
        """By column, what the model gets."""
        found = {name: SCALED[self._scaling.get(name, "standard")] for name in self._names}
        for name, _, rest in self._blocks:
            found[name] = f"one-hot of {len(self.content['categories'][name])}" + (
                " and other" if rest is not None else ""
            )
        for name, _, about in self._dates:
            found[name] = described_date(about)
        for name, _ in self._own:
            found[name] += ", and whether it is missing"
        return found

    def unseen(self, columns: Columns) -> dict[str, int]:
        """By category field, the rows whose category is not known; a missing one is not counted."""
        return {
            name: sum(value is not None and value not in places for value in columns[name].tolist())
            for name, places, _ in self._blocks
        }

    def _one_row(self, columns: RowColumns) -> NDArray[np.float32] | None:
        """The numbers of one row `(1, k)`, to the same bits as `_numbers` and without NumPy's fixed costs.

        None where they are others, or one must be limited.
        """
        if self._log or not self._names or columns.names != self._number_names:
            return None
        row = [
            (number - mean) * factor
            for number, (mean, factor) in zip(columns.numbers, self._steps, strict=True)
        ]
        if not (min(row) >= -LARGEST and max(row) <= LARGEST):
            return None
        return np.frombuffer(bytearray(self._packer.pack(*row)), np.float32).reshape(1, -1)

    def _numbers(self, columns: Columns, rows: int) -> NDArray[np.float64]:
        block = np.empty((rows, len(self._names)))
        for place, name in enumerate(self._names):
            block[:, place] = columns[name]
        if self._log:
            block[:, self._log] = signed_log(block[:, self._log])
        encoded = standardised(block, self._mean, self._factor, self._limit)
        if self._fill is not None:
            encoded = np.where(np.isfinite(block), encoded, self._fill)
        return encoded


def columns_in(encoder: Encoder) -> tuple[ColumnPart, ...]:
    """The columns that an encoder reads, and where they are in what it makes."""
    places = encoder.places if isinstance(encoder, FeaturesEncoder) else {}
    categories = encoder.content["categories"] if places else {}
    return tuple(
        ColumnPart(name, tuple(places[name]) if name in places else None, words, name in categories)
        for name, words in encoder.described().items()
    )
