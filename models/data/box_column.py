"""Boxes in a column: a cell is JSON, `[{"label": "Tree", "box": [left, top, right, bottom]}, ...]`, in pixels.

It is the endpoint's output format without the score. A row without boxes is `[]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array
from tidegate.models.errors import SchemaError

EXAMPLE = '[{"label": "Tree", "box": [left, top, right, bottom]}, ...] as JSON'


@dataclass(frozen=True)
class RowBoxes:
    """The boxes of one row: labels, and float64 `(k, 4)`, each left, top, right, bottom in pixels."""

    labels: tuple[str, ...]
    boxes: NDArray[np.float64]


def format_boxes(labels: Sequence[str], boxes: Sequence[Sequence[float]] | NDArray[np.floating]) -> str:
    """The JSON of one row's boxes; whole numbers are written without a decimal point."""
    numbers = np.asarray(boxes, np.float64).reshape(-1, 4).tolist()
    plain = [[int(value) if value.is_integer() else value for value in box] for box in numbers]
    return json.dumps(
        [{"label": label, "box": box} for label, box in zip(labels, plain, strict=True)], ensure_ascii=False
    )


def parse_boxes(name: str, column: Array, shape: Sequence[int]) -> list[RowBoxes]:
    """The boxes of each row; the part of a box outside of the image is cut off.

    Args:
        name: the column's name.
        column: JSON strings `(n,)`.
        shape: of an image: height, width and, for colour images, channels.

    Raises:
        SchemaError: a cell has another format, or a box has no area in the image; names the row.
    """
    if column.dtype != object:
        raise SchemaError(
            f"target {name!r} has kind boxes and holds numbers; expected {EXAMPLE}; correct the column"
        )
    return [_cell(name, row, text, shape) for row, text in enumerate(column.tolist())]


def _cell(name: str, row: int, text: str, shape: Sequence[int]) -> RowBoxes:
    try:
        found = json.loads(text)
        labels = tuple(_label(entry) for entry in found)
        boxes = np.array([_box(entry) for entry in found], np.float64).reshape(-1, 4)
    except (ValueError, TypeError, KeyError) as error:
        raise SchemaError(
            f"target {name!r}, row {row} (counted from 0): {text[:80]!r} is not a list of boxes ({error}); expected "
            f"{EXAMPLE}; correct it"
        ) from error
    for box, cut in zip(boxes, clip_boxes(boxes, shape), strict=True):
        problem = box_problem(box, cut, shape)
        if problem:
            raise SchemaError(f"target {name!r}, row {row} (counted from 0): {problem}")
    return RowBoxes(labels, clip_boxes(boxes, shape))


def _label(entry: Any) -> str:
    label = entry["label"]
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"the label {label!r} is not a text")
    return label


def _box(entry: Any) -> list[float]:
    box = [float(value) for value in entry["box"]]
    if len(box) != 4 or not np.isfinite(box).all():
        raise ValueError(f"the box {entry['box']!r} is not four numbers")
    return box


def clip_boxes(boxes: NDArray[np.floating], shape: Sequence[int]) -> NDArray[np.float64]:
    """Boxes `(k, 4)` cut at the edges of an image of `shape` (height, width)."""
    return np.clip(boxes.astype(np.float64), 0, [shape[1], shape[0], shape[1], shape[0]])


def box_problem(box: NDArray[np.floating], cut: NDArray[np.floating], shape: Sequence[int]) -> str:
    """What is wrong with a box whose part inside the image is `cut`; "" if nothing is."""
    shown = ", ".join(f"{value:g}" for value in box)
    if box[2] <= box[0] or box[3] <= box[1]:
        return f"the box {shown} has no area; expected left < right and top < bottom; correct it or remove it"
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return (
            f"the box {shown} lies outside of its image of {shape[1]}x{shape[0]} pixels; expected at least a part of "
            "it inside; correct it or remove it"
        )
    return ""
