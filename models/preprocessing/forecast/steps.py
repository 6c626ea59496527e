"""Where the rows of a series stand: equal steps of time, counted from the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of, unknown_column
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.splitting.time_split import moments

Steps = NDArray[np.int64]

LONGEST = 100  # steps for each row, above which the times are no series
NEAR = 1e-6  # of a step: rounding


def steps_of(columns: Columns, time: str | bool) -> Steps:
    """The step of each row `(n,)`, from 0; a step without a row is a gap.

    Months, quarters and years count as equal steps where all dates have the same day and hour.

    Args:
        columns: the rows.
        time: the column of times; True: the rows stand one step apart, in their order.

    Raises:
        SchemaError: there is no such column, a time occurs twice, or the times are not whole steps apart.
        SplitError: a row has no time, or a text is no date.
    """
    if not isinstance(time, str):
        return np.arange(rows_of(columns))
    if time not in columns:
        raise unknown_column(time, columns, "data.split.time")
    column = columns[time]
    times = np.asarray(moments(time, column), np.float64)
    _require_once(time, column, times)
    months = _months(times) if column.dtype == object else None
    if months is not None:
        whole = months - months.min()
        return np.asarray(whole // max(1, int(np.gcd.reduce(whole))), np.int64)
    return _equal_steps(time, column, times)


def _require_once(name: str, column: NDArray[np.generic], times: NDArray[np.float64]) -> None:
    order = np.argsort(times, kind="stable")
    twice = np.flatnonzero(np.diff(times[order]) == 0)
    if len(twice):
        first, second = (int(order[twice[0] + one]) for one in (0, 1))
        raise SchemaError(
            f"data.split.time {name!r} is {column[first]} in row {first + 1} and in row {second + 1}; expected each "
            "time once, because one series is forecast; keep the rows of one series, or add them up"
        )


def _months(seconds: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The month of each time, counted from 1970; None where the times do not all stand at one place in it."""
    stamps = np.rint(seconds).astype("datetime64[s]")
    months = stamps.astype("datetime64[M]")
    within = stamps - months.astype("datetime64[s]")
    if len(np.unique(within)) > 1 or len(np.unique(months)) < len(months):
        return None
    return months.astype(np.int64)


def _equal_steps(name: str, column: NDArray[np.generic], times: NDArray[np.float64]) -> Steps:
    order = np.argsort(times, kind="stable")
    gaps = np.diff(times[order])
    if not len(gaps):
        return np.zeros(len(times), np.int64)
    lengths, counts = np.unique(gaps, return_counts=True)
    step = float(lengths[counts.argmax()])
    places = (times - times.min()) / step
    whole = np.rint(places)
    odd = np.flatnonzero(np.abs(places - whole) > np.maximum(NEAR, NEAR * np.abs(places)))
    if len(odd) or len(np.unique(whole)) < len(whole):
        at = int(odd[0]) if len(odd) else 0
        raise SchemaError(
            f"data.split.time {name!r}: most rows are {step:g} apart, and row {at + 1} ({column[at]}) is no whole "
            "number of such steps after the first; expected equal steps, with gaps of whole ones; give the values of "
            "equal steps, such as sums of hours or days"
        )
    if whole.max() > LONGEST * len(whole):
        raise SchemaError(
            f"data.split.time {name!r}: {len(whole)} rows are {step:g} apart and reach over {int(whole.max())} such "
            "steps; expected a series with few gaps; give the values of larger steps"
        )
    return np.asarray(whole, np.int64)
