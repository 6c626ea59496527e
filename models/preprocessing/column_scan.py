"""The columns of streamed data, found by reading all rows once: dtypes, number of rows, and kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, as_strings, concat, rows_between, rows_of
from tidegate.models.data.columns import missing as is_missing
from tidegate.models.data.shards import bytes_of
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.number_scale import check_magnitudes
from tidegate.models.preprocessing.profile.column_profile import ColumnProfile
from tidegate.models.preprocessing.reading import with_kinds
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.schema_inference import infer_schema, with_nullable

FIRST_ROWS, FIRST_BYTES = 1_000, 4 << 20  # kinds are inferred from these
MOST_CLASSES = 10_000


class ColumnScan:
    """Collects the columns' dtypes, the number of rows, the target's values, and the first rows."""

    def __init__(self) -> None:
        self.rows = self.dropped = 0
        self._targets: list[str] = []
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._first: list[Columns] = []
        self._values: dict[str, set[Any]] = {}
        self.profiles: dict[str, ColumnProfile] = {}

    def add(self, columns: Columns, targets: list[str], dropped: int) -> None:
        """Add rows.

        Args:
            columns: rows with a target.
            targets: names of the target columns.
            dropped: the number of rows without a target that were left out.
        """
        self._targets, self.dropped = targets, self.dropped + dropped
        seen = sum(rows_of(part) for part in self._first)
        if seen < FIRST_ROWS and sum(bytes_of(part) for part in self._first) < FIRST_BYTES:
            part = rows_between(columns, 0, FIRST_ROWS - seen)
            fitting = max(1, rows_of(part) * FIRST_BYTES // max(1, bytes_of(part)))
            self._first.append({name: column[:fitting].copy() for name, column in part.items()})
        self.rows += rows_of(columns)
        for name, column in columns.items():
            self._dtypes[name] = _joined(self._dtypes.get(name, column.dtype), column.dtype)
            self.profiles.setdefault(name, ColumnProfile()).add(column)
        for name in targets:
            values = self._values.setdefault(name, set())
            if len(values) <= MOST_CLASSES:
                column = columns[name]
                present = column[~is_missing(column)]
                values.update(
                    set(present.tolist()) if column.dtype == object else np.unique(present).tolist()
                )

    def schema(
        self,
        inputs: Sequence[Mapping[str, Any]] | None,
        task: str | None,
        kinds: Mapping[str, str],
        missing: str | None = None,
    ) -> Schema:
        """The schema; see `preprocessing.schema.infer_schema`."""
        columns = self.cast(concat(self._first)) if self.rows else {}
        for name, values in self._values.items():
            dtype = self._dtypes[name]
            numbers = [value for value in values if not isinstance(value, str)]
            texts = [value for value in values if isinstance(value, str)]
            listed = numbers if dtype.kind != "O" else [*texts, *as_strings(np.array(numbers)).tolist()]
            columns[name] = np.array(sorted(listed), dtype)
        counts = {name: (profile.distinct or 0, profile.present) for name, profile in self.profiles.items()}
        stated = with_kinds(kinds, columns, inputs, self._targets, missing)
        found = infer_schema(columns, stated, self._targets, task, counts=counts)
        for entry in stated or ():
            if entry.get("kind") in ("integer", "id") and not self.profiles[entry["name"]].whole:
                raise SchemaError(
                    f"input {entry['name']!r} has kind {entry['kind']} and holds numbers that are not whole; expected "
                    "whole numbers; set kind: number, or round the column"
                )
        for field in found.inputs:
            profile = self.profiles[field.name]
            if field.kind == "numeric":
                check_magnitudes(field.name, field.scale, np.array([profile.least, profile.most]))
        if len(found.target.classes) > MOST_CLASSES:
            raise SchemaError(
                f"target {self._targets[0]!r} has more than {MOST_CLASSES} classes; expected fewer with streamed data; "
                "set data.task: regression, or data.stream: false"
            )
        return with_nullable(found, {name: profile.missing > 0 for name, profile in self.profiles.items()})

    def cast(self, columns: Columns) -> Columns:
        """The rows, cast to dtypes that can hold all rows."""
        return {name: _cast(column, self._dtypes[name]) for name, column in columns.items()}

    def bytes_per_row(self) -> float:
        """Approximate bytes of a row as float32 numbers, or in its own dtypes if that is more."""
        first = concat(self._first)
        numbers = sum(4 * column.size for column in first.values() if column.dtype != object)
        return max(numbers, bytes_of(first)) / max(1, rows_of(first))


def _joined(known: np.dtype[Any], found: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(object) if object in (known, found) else np.result_type(known, found)


def _cast(column: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "O":
        return as_strings(column) if column.ndim == 1 else column
    return column.astype(dtype, copy=False)
