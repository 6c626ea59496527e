"""Above which score a row is an anomaly: what lets through all usual validation rows but a stated share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import OptionsError


class Limit(NamedTuple):
    """The threshold, and how many of how many validation rows are above it."""

    score: float
    above: int
    rows: int


def choose_limit(scores: NDArray[Any], alarms: float) -> Limit:
    """The threshold that at most the share `alarms` of usual rows is above.

    It is halfway between two scores of these rows, so that rounding changes no answer to them. Where the share is of
    less than one row, it is above the largest score, by as much as the next one is below.

    Args:
        scores: of the validation rows `(n, 1)`, none of them a known anomaly.
        alarms: the share, above 0 and below 1.

    Raises:
        OptionsError: there are no rows.
    """
    ordered = np.sort(np.asarray(scores, np.float64).ravel())
    rows = len(ordered)
    if not rows:
        raise OptionsError(
            "data.anomaly is stated and there are no validation rows; expected some, because the threshold is chosen "
            "on them; set data.split.validation, such as 0.1"
        )
    place = rows - int(alarms * rows)  # of the first score above
    below = ordered[place - 1]
    next_one = ordered[place] if place < rows else 2 * below - ordered[max(0, rows - 2)]
    limit = float((below + next_one) / 2)
    return Limit(limit, int((ordered > limit).sum()), rows)
