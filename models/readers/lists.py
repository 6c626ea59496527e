"""Columns of lists of numbers: arrays if all lists have one shape, else sequences, padded with NaN at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.read_options import ReadOptions

HOW = (
    "lists of one length are an array; lists of their own lengths a sequence (kind: sequence), where null may stand "
    "after the last step"
)


class ListFacts:
    """The lengths of a column's lists, and where they have null."""

    def __init__(self) -> None:
        self.shortest, self.longest = -1, 0
        self.nulls, self.gaps = False, False

    def add(self, value: Sequence[Any]) -> None:
        """Count one more list."""
        self.add_lengths(len(value), len(value))
        if None in value:
            self.nulls = True
            self.gaps = self.gaps or None in value[: _steps(value)]

    def add_lengths(self, shortest: int, longest: int) -> None:
        """Count more lists, of these lengths."""
        self.shortest = shortest if self.shortest < 0 else min(shortest, self.shortest)
        self.longest = max(longest, self.longest)

    @property
    def padded(self) -> bool:
        """Whether lists have lengths of their own, or are padded with null to one length."""
        return self.shortest < self.longest or (self.nulls and not self.gaps)


def sequence_steps(facts: Mapping[str, ListFacts], options: ReadOptions) -> dict[str, int]:
    """The length of each column that is a sequence, because that is stated or because its lists differ in length."""
    found: dict[str, int] = {}
    for name, known in facts.items():
        wanted = options.reads_as(name)
        if wanted not in ("", "sequence") or not (known.padded or wanted) or not known.longest:
            continue
        found[name] = known.longest
        kind = options.kinds.get(name)
        if kind == "id" and not options.by_contract:
            tell(
                f"column {name!r}: lists of {known.shortest} to {known.longest} ids are filled up at the end with the "
                "unknown one, which is 0 where none is stated"
            )
        if kind is None and not options.by_contract:
            options.found[name] = "sequence"
            tell(
                f"column {name!r}: lists of {known.shortest} to {known.longest} numbers are read as sequences; state "
                "kind: sequence, or pad them to one length for an array"
            )
    return found


def as_array(value: Sequence[Any]) -> Array | None:
    """A list as an array of numbers, NaN for null; None if it is not regular, empty, or not of numbers."""
    try:
        array = np.array(value)
        if array.dtype == object:
            array = np.array(_without_nulls(value), np.float64)
    except (ValueError, OverflowError, TypeError):
        return None
    return array if array.dtype.kind in "biuf" and array.size else None


def padded_lists(rows: Sequence[Array | None], steps: int) -> Array:
    """Lists `(n, ...)` as float64 `(rows, steps, ...)`, padded with NaN at the end; None is a row without steps.

    Raises:
        ValueError: steps have several shapes.
    """
    inner = next((row.shape[1:] for row in rows if row is not None), ())
    column = np.full((len(rows), steps, *inner), np.nan)
    for place, row in enumerate(rows):
        if row is not None:
            if row.shape[1:] != inner:
                raise ValueError(f"steps of shape {row.shape[1:]} and {inner}")
            column[place, : len(row)] = row
    return column


def _steps(value: Sequence[Any]) -> int:
    return next((place for place in range(len(value), 0, -1) if value[place - 1] is not None), 0)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    if isinstance(value, str):
        raise TypeError(value)
    return math.nan if value is None else value
