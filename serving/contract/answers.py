"""Answers as JSON values, one a row, and back as numbers: what `/predict` says in words and what is compared of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import THRESHOLD
from tidegate.models.preprocessing.forecast.settings import MEDIAN
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import by_step, parts_of

Prediction = Any  # a JSON value
FEW_ROWS = 8


def predictions_of(target: Target, values: NDArray[Any]) -> list[Prediction]:
    """Answers `(n, units)` as JSON values.

    Returns:
        For a class `{"label", "probability", "probabilities"}`; for a set of labels `{"labels", "probabilities"}`, the
        latter by label; for a class at each place `{"labels", "probability"}`, nested as the target's shape, of a mask
        `{"mask", "probability"}`, whose whole numbers are what a pixel of the class holds in the data; the former
        for a label for each token, as long as the row has tokens; for numbers a number, or a list where a row has
        several, nested as the shape; for a forecast `{"forecast", "quantiles"}`, the median of each step, and by
        quantile the numbers of all steps; for anomalies `{"score", "anomaly"}`; of several outputs these by name.
    """
    if target.outputs is not None:
        return _by_output(target, values)
    if target.task == "tagging":
        return _tags(target, values)
    if target.task == "segmentation":
        return _places(target, values)
    if target.task == "anomaly":
        (limit,) = target.thresholds or (math.inf,)
        return [{"score": row[0], "anomaly": row[0] > limit} for row in values.tolist()]
    if target.quantiles is not None:
        return _forecasts(target, values)
    if target.shape is not None:
        return list(values.reshape(len(values), *target.shape).tolist())
    rows = values.tolist()
    if target.task == "multilabel":
        names, limits = list(map(str, target.classes)), limits_of(target)
        return [_labels(names, limits, row) for row in rows]
    if target.task == "regression":
        return [row[0] for row in rows] if values.shape[1] == 1 else rows
    best = argmax_rows(values)
    return [
        {"label": target.classes[top], "probability": row[top], "probabilities": row}
        for top, row in zip(best, rows, strict=True)
    ]


def numbers_of(target: Target, predictions: list[Prediction]) -> NDArray[np.float64]:
    """The numbers in `predictions_of`, float64 `(n, k)`; what they are compared with is `told_of`."""
    if target.outputs is not None:
        parts = [numbers_of(one, [row[one.name] for row in predictions]) for one in target.outputs]
        return np.concatenate(parts, axis=1)
    if target.task == "multilabel":
        names = [str(name) for name in target.classes]
        rows: list[Any] = [[one["probabilities"][name] for name in names] for one in predictions]
    elif target.task == "tagging":
        rows = [_filled(one["probability"], target.places) for one in predictions]
    elif target.task == "anomaly":
        rows = [one["score"] for one in predictions]
    elif target.quantiles is not None:
        by_level = [[one["quantiles"][name] for name in map(str, target.quantiles)] for one in predictions]
        return np.asarray(by_level, np.float64).swapaxes(1, 2).reshape(len(predictions), -1)
    elif target.task == "segmentation":
        rows = [one["probability"] for one in predictions]
    elif target.task == "classification":
        rows = [one["probabilities"] for one in predictions]
    else:
        rows = predictions
    return np.asarray(rows, np.float64).reshape(len(predictions), -1)


def told_of(target: Target, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Those of the answers `(n, units)` that `predictions_of` tells: of classes at places the largest probability."""
    if target.outputs is not None:
        return np.concatenate([told_of(one, values[:, part]) for one, part in parts_of(target)], axis=1)
    if not target.at_places:
        return np.asarray(values, np.float64)
    return np.asarray(_at_places(target, values).max(axis=-1), np.float64)


def argmax_rows(values: NDArray[Any]) -> list[int]:
    """The position of the largest value in each row; for few rows without NumPy, whose calls have a fixed cost."""
    if len(values) <= FEW_ROWS:
        return [row.index(max(row)) for row in values.tolist()]
    best: list[int] = values.argmax(axis=1).tolist()
    return best


def _by_output(target: Target, values: NDArray[Any]) -> list[Prediction]:
    parts = {one.name: predictions_of(one, values[:, part]) for one, part in parts_of(target)}
    columns = [parts[name] for name in target.names]
    return [dict(zip(target.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _places(target: Target, values: NDArray[Any]) -> list[Prediction]:
    shape = (len(values), *(target.shape or ()))
    given = _at_places(target, values)
    key, names = ("labels", target.classes) if target.values is None else ("mask", target.values)
    labels = np.array(names)[given.argmax(axis=-1)].reshape(shape).tolist()
    shares = given.max(axis=-1).reshape(shape).tolist()
    return [{key: row, "probability": share} for row, share in zip(labels, shares, strict=True)]


def _tags(target: Target, values: NDArray[Any]) -> list[Prediction]:
    given = _at_places(target, values)
    chosen, shares = given.argmax(axis=2), given.max(axis=2)
    counts = (
        (chosen > 0).sum(axis=1).tolist()
    )  # the first class is no token, and stands only behind the last one
    labels = np.array(target.classes, object)[chosen]
    return [
        {"labels": labels[row, :count].tolist(), "probability": shares[row, :count].tolist()}
        for row, count in enumerate(counts)
    ]


def _filled(shares: list[float], places: int) -> list[float]:
    """With 1, what is answered where no token is."""
    return [*shares, *[1.0] * (places - len(shares))]


def _forecasts(target: Target, values: NDArray[Any]) -> list[Prediction]:
    names = list(map(str, target.quantiles or ()))
    by_level = by_step(target, values).swapaxes(1, 2).tolist()
    found = [dict(zip(names, row, strict=True)) for row in by_level]
    return [{"forecast": row[str(MEDIAN)], "quantiles": row} for row in found]


def _at_places(target: Target, values: NDArray[Any]) -> NDArray[Any]:
    """Probabilities `(n, places, classes)`."""
    return values.reshape(len(values), target.places, len(target.classes))


def limits_of(target: Target) -> tuple[float, ...]:
    """The probability from which each label of a set is answered."""
    return target.thresholds or (THRESHOLD,) * len(target.classes)


def _labels(names: list[str], limits: tuple[float, ...], row: list[float]) -> dict[str, Any]:
    answered = [name for name, p, limit in zip(names, row, limits, strict=True) if p >= limit]
    return {"labels": answered, "probabilities": dict(zip(names, row, strict=True))}
