"""Answers as JSON values, one a row, and back as numbers: what `/predict` says in words and what is compared of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import THRESHOLD
from tidegate.models.preprocessing.schema import Target

Prediction = Any  # a JSON value
FEW_ROWS = 8


def predictions_of(target: Target, values: NDArray[Any]) -> list[Prediction]:
    """Answers `(n, units)` as JSON values.

    Returns:
        For a class `{"label", "probability", "probabilities"}`; for a set of labels `{"labels", "probabilities"}`, the
        latter by label; for numbers a number, or a list where a row has several.
    """
    rows = values.tolist()
    if target.task == "multilabel":
        return [_labels(target, row) for row in rows]
    if target.task == "regression":
        return [row[0] for row in rows] if values.shape[1] == 1 else rows
    best = argmax_rows(values)
    return [
        {"label": target.classes[top], "probability": row[top], "probabilities": row}
        for top, row in zip(best, rows, strict=True)
    ]


def numbers_of(target: Target, predictions: list[Prediction]) -> NDArray[np.float64]:
    """The numbers in `predictions_of`, float64 `(n, units)`."""
    if target.task == "multilabel":
        names = [str(name) for name in target.classes]
        rows: list[Any] = [[one["probabilities"][name] for name in names] for one in predictions]
    elif target.task == "classification":
        rows = [one["probabilities"] for one in predictions]
    else:
        rows = predictions
    return np.asarray(rows, np.float64).reshape(len(predictions), -1)


def argmax_rows(values: NDArray[Any]) -> list[int]:
    """The position of the largest value in each row; for few rows without NumPy, whose calls have a fixed cost."""
    if len(values) <= FEW_ROWS:
        return [row.index(max(row)) for row in values.tolist()]
    best: list[int] = values.argmax(axis=1).tolist()
    return best


def _labels(target: Target, row: list[float]) -> dict[str, Any]:
    pairs = list(zip(map(str, target.classes), row, strict=True))
    return {"labels": [name for name, p in pairs if p >= THRESHOLD], "probabilities": dict(pairs)}
