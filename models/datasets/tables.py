"""Tables that are CSV files inside a package."""

from __future__ import annotations

from pathlib import Path

from tidegate.models.data.columns import Columns, as_strings, concat
from tidegate.models.readers import read

CATEGORIES = ("mnth", "hr", "weekday", "season", "weathersit")
KINDS = tuple((name, "categorical") for name in CATEGORIES)


def bikeshare(files: list[Path]) -> tuple[Columns, int]:
    """8,645 hours of 2011 and 2012: weather, calendar, and `bikers`, the number of bicycles rented.

    `casual` and `registered`, which add up to `bikers`, are left out, and so is `atemp`, which nearly equals `temp`.
    """
    columns = concat(list(read(files[0], "csv")))
    for name in ("casual", "registered", "atemp"):
        del columns[name]
    return {name: as_strings(column) if name in CATEGORIES else column for name, column in columns.items()}, 0
