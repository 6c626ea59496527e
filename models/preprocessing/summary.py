"""What people are told of the data: how many rows and classes there are, and what each field holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.models.data.box_column import parse_boxes
from tidegate.models.data.columns import Array, Columns, missing, rows_of
from tidegate.models.preprocessing.schema import Field, Schema
from tidegate.models.preprocessing.text_target import tokenize
from tidegate.models.preprocessing.transforms import encode_target

MOST_CATEGORIES = 100_000  # that the summary counts


def summary_of(schema: Schema, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    target = schema.target
    if target.task == "generation":
        return _told_texts(schema, columns, splits)
    summary: dict[str, Any] = {
        "task": target.task,
        "rows": {name: rows_of(part) for name, part in splits.items()},
        "fields": {field.name: _told(field, columns[field.name]) for field in schema.inputs},
    }
    if target.task == "regression":
        return summary | {"target": {name: _range(columns[name]) for name in target.names}}
    if target.task == "detection":
        return summary | {"boxes": {name: _counted(schema, part) for name, part in splits.items()}}
    size = len(target.classes)
    counts = {name: np.bincount(encode_target(schema, part), minlength=size) for name, part in splits.items()}
    return summary | {
        "classes": {
            str(label): {name: int(count[place]) for name, count in counts.items()}
            for place, label in enumerate(target.classes)
        }
    }


def _counted(schema: Schema, columns: Columns) -> dict[str, int]:
    """How many boxes there are of each label."""
    name, shape = schema.target.names[0], schema.inputs[0].shape
    found = Counter(label for cell in parse_boxes(name, columns[name], shape) for label in cell.labels)
    return {str(label): found[str(label)] for label in schema.target.classes}


def _told_texts(schema: Schema, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    target = schema.target
    fields = {field.name: _told(field, columns[field.name]) for field in schema.inputs}
    tokens = [
        len(tokenize(text, target.tokens or "characters")) for text in columns[target.names[0]].tolist()
    ]
    return {
        "task": target.task,
        "rows": {name: rows_of(part) for name, part in splits.items()},
        "fields": fields,
        "target": {"mean_tokens": round(sum(tokens) / len(tokens), 1), "most_tokens": max(tokens)},
    }


def _told(field: Field, column: Array) -> dict[str, Any]:
    told = {"kind": field.kind, "missing": int(missing(column).sum())}
    if field.kind == "categorical":
        return told | {"categories": len({value for value in column.tolist() if value is not None})}
    if field.kind == "text":
        words = [len(text.split()) for text in column.tolist() if text is not None]
        return told | {"mean_words": round(sum(words) / max(len(words), 1), 1)}
    return told | _range(column)


def _range(column: Array) -> dict[str, float | None]:
    values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    if values.size == 0:
        return {"min": None, "max": None, "mean": None}
    mean = float(values.mean(dtype=np.float64))
    return {"min": float(values.min()), "max": float(values.max()), "mean": mean}


class ColumnSummary:
    """What people are told of a column."""

    def __init__(self, field: Field | None) -> None:
        self._field = field
        self._missing = self._count = 0
        self._least, self._most, self._sum = np.inf, -np.inf, 0.0
        self._values: set[str] = set()

    def add(self, column: Array) -> None:
        """See some rows."""
        self._missing += int(missing(column).sum())
        if column.dtype == object:
            texts = [value for value in column.tolist() if value is not None]
            self._count += len(texts)
            if self._field is not None and self._field.kind == "text":
                self._sum += sum(len(text.split()) for text in texts)
            elif len(self._values) < MOST_CATEGORIES:
                self._values.update(texts)
            return
        values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
        if values.size:
            self._count += values.size
            self._sum += float(values.sum(dtype=np.float64))
            self._least, self._most = (
                min(self._least, float(values.min())),
                max(self._most, float(values.max())),
            )

    def summary(self) -> dict[str, Any]:
        """What was seen; as `preprocessing.prepare.prepare` tells it of rows in memory."""
        mean = self._sum / self._count if self._count else None
        if self._field is None:
            return {"min": self._least, "max": self._most, "mean": mean}
        told: dict[str, Any] = {"kind": self._field.kind, "missing": self._missing}
        if self._field.kind == "categorical":
            return told | {"categories": len(self._values)}
        if self._field.kind == "text":
            return told | {"mean_words": round(mean or 0.0, 1)}
        if mean is None:
            return told | {"min": None, "max": None, "mean": None}
        return told | {"min": self._least, "max": self._most, "mean": mean}
