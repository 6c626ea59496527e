"""What other forecasts of the same windows reach: the values a season before, and gradient boosting step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.forecast.settings import PAST
from tidegate.models.preprocessing.schema import Target

Floats = NDArray[np.float32]
LAGS = (
    1,
    2,
    3,
    24,
    48,
    72,
    96,
    120,
    144,
    168,
)  # steps before the one that is forecast, or the nearest that is known
ROWS = 60_000  # of the training part that are learned from: a row and a step each


def seasonal_naive(target: Target, test: Columns, season: int) -> float:
    """MASE of each step's value a season before, or a whole number of seasons where that is not yet known."""
    (name,), steps = target.names, target.places
    past = test[f"{name}{PAST}"]
    places = past.shape[1] - season + np.arange(steps) % season
    return _mase(target, test[name], past[:, places])


def boosted(target: Target, train: Columns, test: Columns, known: list[str]) -> float:
    """MASE of scikit-learn's histogram gradient boosting, which learns the absolute error.

    It gets the step, the values before it that are known (of a day, each day of a week and the hour, see LAGS), their
    mean and what is known of the step: all that the network is given, laid out as boosting likes it.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    learned, truth = _steps(target, train, known), train[target.name].ravel()
    chosen = np.random.default_rng(0).permutation(len(truth))[:ROWS]
    model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=300, random_state=0)
    model.fit(learned[chosen], truth[chosen])
    found = model.predict(_steps(target, test, known))
    return _mase(target, test[target.name], found.reshape(-1, target.places))


def _steps(target: Target, rows: Columns, known: list[str]) -> Floats:
    """Features of each row and step `(n * steps, features)`."""
    past, steps = rows[f"{target.name}{PAST}"], target.places
    width = past.shape[1]
    step = np.arange(steps)
    parts = [np.broadcast_to(step, (len(past), steps))]
    # Of a lag of fewer steps than are forecast, before the first of them: the nearest that is known.
    parts += [past[:, width - lag + (step if lag >= steps else 0 * step)] for lag in LAGS]
    means = [past[:, -length:].mean(axis=1, keepdims=True) for length in (24, width)]
    parts += [np.broadcast_to(mean, (len(past), steps)) for mean in means]
    parts += [rows[name][:, -steps:] for name in known]
    return np.stack(parts, axis=2).reshape(len(past) * steps, -1).astype(np.float32)


def _mase(target: Target, truth: NDArray[Any], forecast: NDArray[Any]) -> float:
    assert target.naive_error is not None
    return float(np.abs(truth - forecast).mean() / target.naive_error)
