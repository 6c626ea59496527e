"""How a series is forecast: the keys of `data.forecast`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEDIAN = 0.5  # one of the quantiles: the forecast itself
PAST = "_past"  # behind the target's name: the input of its last values


@dataclass(frozen=True)
class Forecast:
    """What a row of a forecast holds.

    Attributes:
        past: steps before the moment of the forecast that the model is given.
        horizon: steps from that moment on that it answers.
        known: inputs whose values are known for these steps too, as of a calendar.
        quantiles: answered for each step, ascending; one of them is the median.
        season: steps of a season, for the naive forecast that MASE compares with.
        every: steps between the moments from which held-out rows are forecast.
    """

    past: int
    horizon: int
    known: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    season: int = 1
    every: int = 1

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Forecast:
        """From the keys of `data.forecast`."""
        read: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stated.items()
        }
        return cls(**read)
