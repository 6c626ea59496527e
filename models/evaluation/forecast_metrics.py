"""The metrics of forecasts, in NumPy alone.

- pinball, and loss, is the mean over rows, steps and quantiles of q (y - a) where the answer a is below the truth y,
  else (1 - q) (a - y): Koenker, Bassett, "Regression Quantiles", Econometrica 46(1), 1978.
- mae and rmse are those of the median; mase is that mae over the mean error of the seasonal naive forecast in the
  training part, below 1 where the model is better: Hyndman, Koehler, "Another look at measures of forecast accuracy",
  2006.
- coverage is the share of values from the lowest to the highest quantile, and coverage_error how far it is from what
  these promise, such as 0.8 of 0.1 and 0.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.metrics import Measured
from tidegate.models.preprocessing.forecast.settings import MEDIAN
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import by_step


def forecast_metrics(target: Target, truth: NDArray[Any], answers: NDArray[np.float64]) -> Measured:
    """The metrics of answers `(n, units)` against what came, `(n, steps)`; a reason for one that is undefined."""
    levels = target.quantiles or ()
    true, found = np.asarray(truth, np.float64), by_step(target, answers)
    error = true - found[:, :, levels.index(MEDIAN)]
    loss, mae = pinball(true, found, levels), float(np.abs(error).mean())
    naive = target.naive_error
    measured: Measured = {
        "pinball": loss,
        "mase": mae / naive if naive else "the series of the training part does not change in a season",
        "mae": mae,
        "rmse": float(np.sqrt((error**2).mean())),
        "loss": loss,
    }
    if len(levels) < 2:
        return measured | dict.fromkeys(("coverage", "coverage_error"), "there is one quantile")
    covered = float(((true >= found[:, :, 0]) & (true <= found[:, :, -1])).mean())
    return measured | {"coverage": covered, "coverage_error": abs(covered - (levels[-1] - levels[0]))}


def pinball(truth: NDArray[np.float64], answers: NDArray[np.float64], levels: tuple[float, ...]) -> float:
    """The mean pinball loss of answers `(n, steps, quantiles)`."""
    below = truth[:, :, None] - answers
    quantiles = np.asarray(levels)
    return float(np.maximum(quantiles * below, (quantiles - 1) * below).mean())
