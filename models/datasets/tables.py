"""Tables that are CSV files inside a package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns, as_strings, concat
from tidegate.models.readers import read

CATEGORIES = ("mnth", "hr", "weekday", "season", "weathersit")
WEATHER = ("clear", "cloudy/misty", "light rain/snow", "heavy rain/snow")  # the better first
DAYS, SATURDAY = 365, 6  # of 2011, which began on one
KINDS = tuple((name, "categorical") for name in CATEGORIES)


def bikeshare(files: list[Path]) -> tuple[Columns, int]:
    """8,645 hours of 2011 and 2012: weather, calendar, and `bikers`, the number of bicycles rented.

    `casual` and `registered`, which add up to `bikers`, are left out, and so is `atemp`, which nearly equals `temp`.
    """
    columns = concat(list(read(files[0], "csv")))
    for name in ("casual", "registered", "atemp"):
        del columns[name]
    return {name: as_strings(column) if name in CATEGORIES else column for name, column in columns.items()}, 0


def bikeshare_hours(files: list[Path]) -> tuple[Columns, int]:
    """The 8,760 hours of 2011 in their order: `time`, `bikers`, the calendar and the weather as numbers.

    An hour in which nobody rented has no line in the file: it has 0 bikers, and the weather of the hour before.
    `hour_sin` and `hour_cos` are the hour as a place on a circle, `weekday` counts from Sunday, `weather` from clear
    (0) to heavy rain (3), and `temp`, `hum` and `windspeed` are the shares of their largest values that the file has.
    """
    columns = concat(list(read(files[0], "csv")))
    hours = np.arange(DAYS * 24)
    found = (24 * (columns["day"].astype(np.int64) - 1) + columns["hr"].astype(np.int64)).astype(np.int64)
    held = np.searchsorted(found, hours, "right") - 1  # the last hour that has a line
    bikers = np.zeros(len(hours))
    bikers[found] = columns["bikers"]
    circle = 2 * np.pi * (hours % 24) / 24
    times = np.datetime64("2011-01-01T00", "h") + hours
    texts = np.empty(len(hours), object)
    texts[:] = [str(time).replace("T", " ") + ":00" for time in times]
    made: Columns = {"time": texts, "bikers": bikers, "hour_sin": np.sin(circle), "hour_cos": np.cos(circle)}
    made |= {"weekday": (hours // 24 + SATURDAY) % 7.0}
    made |= {
        name: columns[name][held].astype(np.float64) for name in ("workingday", "temp", "hum", "windspeed")
    }
    kinds = np.array([WEATHER.index(text) for text in columns["weathersit"].tolist()], np.float64)
    return made | {"weather": kinds[held]}, 0
