"""What a date becomes: numbers and one-hot blocks, which `encode` of an input names.

Nothing here looks at a clock: an age is counted from the newest date of the training rows, so that the same request has
the same answer tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array
from tidegate.models.data.dates import DAY, seconds
from tidegate.models.preprocessing.encoding.encoders import LARGEST

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
# By part, the names of its features.
LABELS: dict[str, tuple[str, ...]] = {
    "days": ("days",),
    "day": ("day of month",),
    "weekday": WEEKDAYS,
    "month": MONTHS,
    "hour": ("sine of the hour", "cosine of the hour"),
    "year": ("year",),
    "age": ("age in days",),
}
WORDS = {"day": "day of month", "hour": "time of day"}


def parts_of(about: Mapping[str, Any]) -> Sequence[str]:
    """The parts of a date column; where none are stated, the usual ones, and the hour if there are times of day."""
    usual = ("days", "day", "weekday", "month", *(("hour",) if about["time"] else ()))
    return about.get("parts") or usual


def labels_of(about: Mapping[str, Any]) -> list[str]:
    """The names of the features."""
    return [label for part in parts_of(about) for label in LABELS[part]]


def described_date(about: Mapping[str, Any]) -> str:
    """What the model gets, in a few words."""
    words = ", ".join(WORDS.get(part, part) for part in parts_of(about))
    return f"as {len(labels_of(about))} numbers: {words}"


def encode_dates(column: Array, about: Mapping[str, Any], block: NDArray[np.float32]) -> None:
    """Write the parts of a column of dates into the zeros of `block` `(n, parts)`; a missing date stays all zeros."""
    stamps = seconds(column, about["format"])
    rows = np.flatnonzero(np.isfinite(stamps))
    place = 0
    for part in parts_of(about) if len(rows) else ():
        width = len(LABELS[part])
        block[rows, place : place + width] = _part(part, stamps[rows], about)
        place += width


def _part(name: str, stamps: NDArray[np.float64], about: Mapping[str, Any]) -> NDArray[np.float64]:
    """One part of dates in seconds since 1970 `(n,)`, as `(n, width)`."""
    since, moments = stamps / DAY, stamps.astype("datetime64[s]")
    days, months = moments.astype("datetime64[D]"), moments.astype("datetime64[M]")
    if name == "weekday":
        return np.eye(7, dtype=np.float64)[(days.astype(np.int64) + 3) % 7]  # 1970-01-01 was a Thursday
    if name == "month":
        return np.eye(12, dtype=np.float64)[months.astype(np.int64) % 12]
    if name == "hour":
        angle = 2 * np.pi * (since % 1.0)
        return np.asarray(np.stack([np.sin(angle), np.cos(angle)], axis=1), np.float64)
    if name == "day":
        value = ((days - months).astype(np.int64) - 15) / 9.0  # about its own mean and deviation
    elif name == "year":
        mean, scale = about["year"]
        value = np.clip((years_of(stamps) - mean) / scale, -LARGEST, LARGEST)
    else:
        value = np.clip((since - about["mean"]) / about["scale"], -LARGEST, LARGEST)
        # Days before the newest date, about their own mean: the mirror image of the days.
        value = -value if name == "age" else value
    return np.asarray(value, np.float64)[:, np.newaxis]


def years_of(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The calendar year of finite seconds since 1970."""
    return stamps.astype("datetime64[s]").astype("datetime64[Y]").astype(np.float64) + 1970.0
