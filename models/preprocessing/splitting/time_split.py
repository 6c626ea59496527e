"""Split rows by time: the last ones are the test rows, those before them validate, and all earlier ones train.

Rows of the same time stay together, so a part may be a little smaller or larger than its fraction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, missing
from tidegate.models.data.dates import date_format, named_format, seconds
from tidegate.models.errors import SplitError

Rows = NDArray[np.int64]


def by_time(
    rows: Rows, times: NDArray[np.generic], fractions: dict[str, float]
) -> tuple[Rows, dict[str, Rows]]:
    """The training rows, and the rows of each fraction, all in the order of time.

    Args:
        rows: row numbers `(n,)`.
        times: of these rows, see `moments`.
        fractions: by part, the share of the rows; the first part is the last in time.

    Raises:
        SplitError: too few different times.
    """
    order = np.argsort(times, kind="stable")
    ordered, sorted_times, held = rows[order], times[order], {}
    end = len(rows)
    for name, share in fractions.items():
        begin = _cut(sorted_times[:end], max(1, round(share * len(rows))), name) if share > 0 else end
        held[name], end = ordered[begin:end], begin
    return ordered[:end], held


def moments(name: str, column: Array) -> NDArray[np.generic]:
    """A number for each row that grows with its time, `(n,)`: seconds since 1970 of dates as text, numbers as they are.

    Raises:
        SplitError: a row has no time, or a text is no date.
    """
    if column.ndim > 1:
        raise SplitError(
            f"data.split.time {name!r} holds rows of shape {column.shape[1:]}; expected one time per row; name another "
            "column"
        )
    absent = np.flatnonzero(missing(column))
    if len(absent):
        raise SplitError(
            f"data.split.time {name!r} is missing in {len(absent)} of {len(column)} rows, first in row "
            f"{absent[0] + 1}; expected a time for each row; fill it in, or leave these rows out"
        )
    return _seconds(name, column) if column.dtype == object else column


def _seconds(name: str, column: Array) -> NDArray[np.float64]:
    written = date_format(column.tolist()) or named_format(list(dict.fromkeys(column.tolist())))
    if not written:
        odd = next((text for text in column.tolist() if not date_format([text])), column[0])
        raise SplitError(
            f"data.split.time {name!r} holds {odd!r}, whose order in time is not known; expected numbers, or dates of "
            "one form such as 2025-01-31 or 31.01.2025; write it so, or name another column"
        )
    return seconds(column, written)


def _cut(times: NDArray[np.generic], count: int, name: str) -> int:
    """Where the last `count` times begin, moved to the nearest change of time."""
    wanted = max(0, len(times) - count)
    nearest = (
        [int(np.searchsorted(times, times[wanted], side)) for side in ("left", "right")] if len(times) else []
    )
    possible = [place for place in nearest if 0 < place < len(times)]
    if not possible:
        raise SplitError(
            f"{len(times)} rows of {len(np.unique(times))} different times are too few for {name} rows that are later "
            "than all training rows; expected more times; lower the fractions in data.split, or add rows"
        )
    return min(possible, key=lambda place: abs(place - wanted))
