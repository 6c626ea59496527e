"""How the input `features` is fitted: scales of numbers and dates, and the categories that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.dates import DAY, YEAR_FIRST, has_time, seconds
from tidegate.models.preprocessing.encoding.date_parts import years_of
from tidegate.models.preprocessing.encoding.encoders import MOST_CATEGORIES
from tidegate.models.preprocessing.encoding.features_encoder import FeaturesEncoder
from tidegate.models.preprocessing.encoding.frequencies import Frequencies
from tidegate.models.preprocessing.encoding.number_scale import Moments, NumberScale
from tidegate.models.preprocessing.schema import Field


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
        self._parts, self._years = field.encode, Moments()

    def add(self, column: Array) -> None:
        """Add training rows."""
        stamps = seconds(column, self._format)
        self._moments.add(stamps / DAY)
        if self._parts is not None:
            self._years.add(years_of(stamps[np.isfinite(stamps)]))
        self._time = self._time or has_time(stamps)

    def content(self) -> dict[str, Any]:
        """What `FeaturesEncoder` needs to know."""
        mean, scale = self._moments.mean_and_scale()
        about = {"format": self._format, "mean": mean, "scale": scale, "time": self._time}
        if self._parts is None:
            return about
        return about | {"parts": list(self._parts), "year": list(self._years.mean_and_scale())}
