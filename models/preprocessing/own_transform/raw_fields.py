"""The contract of raw columns: what each holds, derived from the data, where a transform makes the model's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.dates import YEAR_FIRST, date_format
from tidegate.models.preprocessing.encoding.encoders import MOST_CATEGORIES
from tidegate.models.preprocessing.kinds import TEXT_WORDS
from tidegate.models.preprocessing.own_transform.given import DATE, TIMESTAMP, RawColumn
from tidegate.models.preprocessing.schema import Field, Kind
from tidegate.models.preprocessing.text_kinds import hardly_repeats


def raw_fields(columns: Columns, types: Mapping[str, str], kinds: Mapping[str, str]) -> list[Field]:
    """A field for each raw column; none is refused, since the transform decides what becomes of it.

    Args:
        columns: all rows.
        types: of the columns in the source, see `data.source_types`.
        kinds: of columns that a format knows, such as sequences.
    """
    return [_field(name, column, types.get(name, ""), kinds.get(name)) for name, column in columns.items()]


def raw_column(field: Field, column: Array, kind: str) -> RawColumn:
    """How a transform is given a column: its type in the source, and the categories that it holds."""
    known: tuple[str, ...] = ()
    if field.kind == "categorical":
        counts = Counter(value for value in column.tolist() if value is not None)
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        known = tuple(sorted(ranked[:MOST_CATEGORIES]))
    return RawColumn(name=field.name, type=kind, format=field.format, categories=known)


def _field(name: str, column: Array, source: str, known: str | None) -> Field:
    kind, written = _kind(column, source, known)
    return Field(
        name=name,
        kind=kind,
        dtype="str" if column.dtype == object else str(column.dtype),
        shape=tuple(column.shape[1:]),
        format=written,
        upright=True if kind == "image" else None,
    )


def _kind(column: Array, source: str, known: str | None) -> tuple[Kind, str | None]:
    """The kind, and how dates are written."""
    if column.dtype != object:
        if column.dtype in (np.uint8, np.uint16) and column.ndim in (3, 4):
            return "image", None
        return ("sequence" if known == "sequence" else "numeric"), None
    values = [value for value in column.tolist() if value is not None]
    if TIMESTAMP.fullmatch(source) or DATE.fullmatch(source):
        return "date", YEAR_FIRST
    if written := date_format(values):
        return "date", written
    if source.startswith("dictionary") or source == "bool":
        return "categorical", None
    if _is_text(values):
        return "text", None
    return "categorical", None


def _is_text(values: list[str]) -> bool:
    words = sum(len(text.split()) for text in values)
    return words > TEXT_WORDS * len(values) or hardly_repeats(len(set(values)), len(values))
