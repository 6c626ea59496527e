"""A backtest: the origin of the forecast rolls through the series, and a model learns all that was before it.

Tashman, "Out-of-sample tests of forecasting accuracy: an analysis and review", International Journal of Forecasting
16(4), 2000.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import SplitError

Rows = NDArray[np.int64]


class RollingFold(NamedTuple):
    """The row numbers of one model: what it learns from, what it validates on, and what it forecasts."""

    train: Rows
    validation: Rows
    forecast: Rows


def rolling_folds(origins: Rows, horizon: int, folds: int, validation: float) -> list[RollingFold]:
    """The models of a backtest, whose origins are later and later; each learns from all earlier rows.

    The rows are divided by time into one piece more than there are folds: the first piece is only learned from, each
    other one is forecast once. No value that a model forecasts is among those that it learned or validated on.

    Args:
        origins: the step of the first value to forecast of each row `(n,)`, in any order.
        horizon: steps that a row forecasts.
        folds: models.
        validation: share of a model's earlier rows, the last ones, that it validates on.

    Raises:
        SplitError: a piece is so short that nothing is left to learn from or to validate on.
    """
    order = np.argsort(origins, kind="stable")
    found = []
    pieces = np.array_split(order, folds + 1)
    for place in range(1, folds + 1):
        own = pieces[place]
        earlier = np.concatenate(pieces[:place])
        earlier = _before(earlier, origins, horizon, own)
        count = round(validation * len(earlier))
        kept, held = earlier[: len(earlier) - count], earlier[len(earlier) - count :]
        train = _before(kept, origins, horizon, held)
        if not len(own) or not len(train) or (validation and not len(held)):
            raise SplitError(
                f"data.split.folds is {folds} and there are {len(origins)} moments besides the test rows, with a "
                f"horizon of {horizon} steps; expected more before the first model's origin; lower folds, or add rows"
            )
        found.append(RollingFold(train, held, own))
    return found


def _before(rows: Rows, origins: Rows, horizon: int, later: Rows) -> Rows:
    """Those rows that forecast nothing which the later ones forecast."""
    return rows[origins[rows] + horizon <= origins[later].min()] if len(later) else rows
