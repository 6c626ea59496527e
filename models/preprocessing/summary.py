"""The summary of the data: the number of rows, the classes, and figures for each field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.models.data.box_column import parse_boxes
from tidegate.models.data.columns import Array, Columns, missing, rows_of
from tidegate.models.data.item_lists import LISTS, WRITTEN, items_of
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.target.encode_target import encoded
from tidegate.models.preprocessing.target.label_matrix import label_matrix
from tidegate.models.preprocessing.target.masks import pixels_by_class
from tidegate.models.preprocessing.target.text_target import tokenize

MOST_CATEGORIES = 100_000  # distinct ones that are counted


def summary_of(schema: Schema, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    """The summary of rows in memory: plain JSON values."""
    target = schema.target
    if target.task == "generation":
        return _text_summary(schema, columns, splits)
    summary: dict[str, Any] = {
        "task": target.task,
        "rows": {name: rows_of(part) for name, part in splits.items()},
        "fields": {field.name: _field_summary(field, columns[field.name]) for field in schema.inputs},
    }
    if target.task == "multilabel":
        return summary | {"labels": {name: _label_counts(target, part) for name, part in splits.items()}}
    if target.outputs is not None or target.shape is not None or not target.names:
        outputs = target.outputs or (target,)
        return summary | {"outputs": {one.name: _output_summary(one, columns, splits) for one in outputs}}
    if target.task == "regression":
        return summary | {"target": {name: _range(columns[name]) for name in target.names}}
    if target.task == "detection":
        return summary | {"boxes": {name: _box_counts(schema, part) for name, part in splits.items()}}
    return summary | {"classes": _class_counts(target, splits)}


def _label_counts(target: Target, columns: Columns) -> dict[str, int]:
    """How many rows have each label."""
    counts = label_matrix(target, columns).sum(axis=0)
    return {str(label): int(count) for label, count in zip(target.classes, counts, strict=True)}


def _output_summary(output: Target, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    """One of several outputs, or an array a row."""
    known: dict[str, Any] = {"task": output.task}
    if not output.names:
        return known
    if output.values is not None:
        known |= {"pixels": {part: pixels_by_class(output, rows) for part, rows in splits.items()}}
    if output.shape is not None:
        return known | {"shape": list(output.shape), "classes": [str(one) for one in output.classes]}
    if output.task == "regression":
        return known | {"target": {name: _range(columns[name]) for name in output.names}}
    if output.task == "multilabel":
        return known | {"labels": {name: _label_counts(output, part) for name, part in splits.items()}}
    return known | {"classes": _class_counts(output, splits)}


def _class_counts(target: Target, splits: Mapping[str, Columns]) -> dict[str, dict[str, int]]:
    """How many rows of each split have each class."""
    size = len(target.classes)
    counts = {name: np.bincount(encoded(target, part), minlength=size) for name, part in splits.items()}
    return {
        str(label): {name: int(count[place]) for name, count in counts.items()}
        for place, label in enumerate(target.classes)
    }


def _box_counts(schema: Schema, columns: Columns) -> dict[str, int]:
    """The number of boxes of each label."""
    name, shape = schema.target.names[0], schema.inputs[0].shape
    found = Counter(label for cell in parse_boxes(name, columns[name], shape) for label in cell.labels)
    return {str(label): found[str(label)] for label in schema.target.classes}


def _text_summary(schema: Schema, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    target = schema.target
    fields = {field.name: _field_summary(field, columns[field.name]) for field in schema.inputs}
    tokens = [
        len(tokenize(text, target.tokens or "characters")) for text in columns[target.names[0]].tolist()
    ]
    return {
        "task": target.task,
        "rows": {name: rows_of(part) for name, part in splits.items()},
        "fields": fields,
        "target": {"mean_tokens": round(sum(tokens) / len(tokens), 1), "most_tokens": max(tokens)},
    }


def _field_summary(field: Field, column: Array) -> dict[str, Any]:
    summary = {"kind": field.kind, "missing": int(missing(column).sum())}
    if field.kind == "categorical":
        return summary | {"categories": len({value for value in column.tolist() if value is not None})}
    if field.kind in LISTS:
        sizes = [len(items_of(cell, field.kind)) for cell in column.tolist() if cell is not None]
        return summary | {"mean_items": round(sum(sizes) / max(len(sizes), 1), 1)}
    if field.kind == "text":
        words = [len(text.split()) for text in column.tolist() if text is not None]
        return summary | {"mean_words": round(sum(words) / max(len(words), 1), 1)}
    if column.dtype == object:
        return summary | {"distinct": len({value for value in column.tolist() if value is not None})}
    return summary | _range(column)


def _range(column: Array) -> dict[str, float | None]:
    values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    if values.size == 0:
        return {"min": None, "max": None, "mean": None}
    with np.errstate(over="ignore"):
        mean = float(values.mean(dtype=np.float64))
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": mean if np.isfinite(mean) else None,
    }


class ColumnSummary:
    """The summary of a column whose rows come in parts; `field` is None for a target column."""

    def __init__(self, field: Field | None) -> None:
        self._field = field
        self._missing = self._count = 0
        self._least, self._most, self._sum = np.inf, -np.inf, 0.0
        self._values: set[str] = set()

    def add(self, column: Array) -> None:
        """Add rows."""
        self._missing += int(missing(column).sum())
        if column.dtype == object:
            texts = [value for value in column.tolist() if value is not None]
            self._count += len(texts)
            if self._field is not None and self._field.kind in LISTS:
                self._sum += sum(len(items_of(cell, self._field.kind)) for cell in texts)
            elif self._field is not None and self._field.kind == "text":
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
        """The same figures as `summary_of` gives for rows in memory."""
        mean = self._sum / self._count if self._count else None
        if self._field is None:
            return {"min": self._least, "max": self._most, "mean": mean}
        summary: dict[str, Any] = {"kind": self._field.kind, "missing": self._missing}
        if self._field.kind == "categorical":
            return summary | {"categories": len(self._values)}
        if self._field.kind in WRITTEN:
            return summary | {
                f"mean_{'words' if self._field.kind == 'text' else 'items'}": round(mean or 0.0, 1)
            }
        if self._field.dtype == "str":
            return summary | {"distinct": len(self._values)}
        if mean is None:
            return summary | {"min": None, "max": None, "mean": None}
        return summary | {"min": self._least, "max": self._most, "mean": mean}
