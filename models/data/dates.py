"""Dates and times as text: which way of writing them a column uses, and their value in seconds.

Three orders are told from the values: `year_first` (ISO 8601: 2025-01-31, 2025/01/31), `day_first` (31.01.2025,
31/01/2025) and `month_first` (01/31/2025). A time may follow, as in 2025-01-31T18:30:00.5+01:00: a zone is turned into
UTC, a time without one is taken as it is written. Any other way is stated as a pattern of `datetime.strptime`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array

YEAR_FIRST, DAY_FIRST, MONTH_FIRST = ORDERS = ("year_first", "day_first", "month_first")
DAY = 86_400.0
TIME = r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d{1,18})?))?\s?(Z|[+-]\d{2}:?\d{2})?)?"
YEAR_PATTERN = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){TIME}")
OTHER_PATTERN = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){TIME}")
NAMED = (
    *(
        f"%d{mark}%{month}{mark}%{year}"
        for mark in ("-", " ", "/", ".", "")
        for month in "bB"
        for year in "Yy"
    ),
    *(f"%{month} %d, %Y" for month in "bB"),
    *(f"{day} %I:%M{second} %p" for day in ("%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d") for second in ("", ":%S")),
)
EPOCH = date(1970, 1, 1).toordinal()


def date_format(values: Iterable[str]) -> str | None:
    """The order in which all these texts write a date, None if one of them is none; "" if it cannot be told.

    01/02/2025 is told only by another row, such as 31/01/2025; with points the day comes first.
    """
    orders = set(ORDERS)
    known = False
    for text in dict.fromkeys(values):
        orders &= orders_of(text)
        known = True
        if not orders:
            return None
    return (orders.pop() if len(orders) == 1 else "") if known else None


def orders_of(text: str) -> set[str]:
    """The orders in which a text is a date."""
    return {order for order in _orders(text) if _seconds(text, order) is not None}


def usual_order(counts: Mapping[str, int]) -> str:
    """The order in which the most of these texts write a date, each counted so often; "" if none is a date.

    As in `date_format`, one that fits the most but cannot be told from another is named by the earlier in ORDERS.
    """
    fitting = dict.fromkeys(ORDERS, 0)
    for text, count in counts.items():
        for order in orders_of(text):
            fitting[order] += count
    best = max(ORDERS, key=lambda order: fitting[order])
    return best if fitting[best] else ""


def named_format(texts: Sequence[str]) -> str:
    """The pattern of dates with names of months, or times with AM and PM, that these texts fit; "" if none."""
    for pattern in NAMED:
        if texts and all(_stamp_of(text, pattern) is not None for text in texts):
            return pattern
    return ""


def seconds_of(text: str, written: str) -> float | None:
    """Seconds since 1970 of a text written in this order or pattern, or in ISO 8601; None if it is no such date."""
    found = _stamp_of(text, written) if "%" in written else _seconds(text, written)
    return found if found is not None or written == YEAR_FIRST else _seconds(text, YEAR_FIRST)


def seconds(column: Array, written: str) -> NDArray[np.float64]:
    """Seconds since 1970 `(n,)` of strings `(n,)`; NaN where a value is missing or no date."""
    known: dict[str | None, float] = {None: math.nan}
    found = np.empty(len(column), np.float64)
    for row, text in enumerate(column.tolist()):
        if text not in known:
            value = seconds_of(text, written)
            known[text] = math.nan if value is None else value
        found[row] = known[text]
    return found


def has_time(stamps: NDArray[np.float64]) -> bool:
    """Whether one of these has a time of day."""
    finite = stamps[np.isfinite(stamps)]
    return bool((finite % DAY != 0).any())


def iso(stamp: float) -> str:
    """Seconds since 1970 as ISO 8601; a date alone at midnight."""
    day, rest = divmod(stamp, DAY)
    text = date.fromordinal(EPOCH + int(day)).isoformat()
    hour, minute = divmod(int(rest) // 60, 60)
    return text if rest == 0 else f"{text}T{hour:02}:{minute:02}:{int(rest) % 60:02}"


def _orders(text: str) -> tuple[str, ...]:
    if YEAR_PATTERN.fullmatch(text.strip()):
        return (YEAR_FIRST,)
    matched = OTHER_PATTERN.fullmatch(text.strip())
    if matched is None:
        return ()
    return (DAY_FIRST,) if matched[2] == "." else (DAY_FIRST, MONTH_FIRST)


def _seconds(text: str, order: str) -> float | None:
    if order == YEAR_FIRST:
        matched = YEAR_PATTERN.fullmatch(text.strip())
        year, month, day = (matched[1], matched[3], matched[4]) if matched else ("", "", "")
    else:
        matched = OTHER_PATTERN.fullmatch(text.strip())
        first, second, year = (matched[1], matched[3], matched[4]) if matched else ("", "", "")
        day, month = (first, second) if order == DAY_FIRST else (second, first)
    if matched is None:
        return None
    hour, minute, second_, zone = matched.groups()[4:]
    try:
        days = date(int(year), int(month), int(day)).toordinal() - EPOCH
    except ValueError:
        return None
    rest = int(hour or 0) * 3600 + int(minute or 0) * 60 + float((second_ or "0").replace(",", "."))
    if int(hour or 0) > 23 or int(minute or 0) > 59:
        return None
    return days * DAY + rest - _offset(zone)


def _offset(zone: str | None) -> float:
    if not zone or zone == "Z":
        return 0.0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (hours * 3600 + minutes * 60) * (-1.0 if zone[0] == "-" else 1.0)


def _stamp_of(text: str, pattern: str) -> float | None:
    try:
        return _stamp(datetime.strptime(text.strip(), pattern))
    except ValueError:
        return None


def _stamp(found: datetime) -> float:
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
