"""What a user should know about the target: what is hardly there, and what nothing is tested of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.cells.spellings import alike
from tidegate.models.data.columns import Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.encode_target import encode_target

MOST_NAMED = 5  # classes that one sentence names
MOSTLY = 0.8  # share of the rows that have one value


def tell_about_target(
    schema: Schema, columns: Columns, test: Columns, numbers: NDArray[np.integer] | None = None
) -> None:
    """Tell what looks wrong with the target of a classification or a regression.

    Args:
        schema: of the data.
        columns: all rows with a target.
        test: the test rows.
        numbers: of these rows in the source `(n,)`, counted from 0; None: they are all of it.
    """
    if schema.target.task == "regression" and schema.target.shape is None:
        for name in schema.target.names:
            _tell_mostly_one(name, columns[name])
    if schema.target.task != "classification":
        return
    truth = encode_target(schema, columns)
    places = np.arange(len(truth)) if numbers is None else numbers
    _, first = np.unique(truth, return_index=True)
    rows, tested = (
        np.bincount(one, minlength=len(schema.target.classes)) for one in (truth, encode_target(schema, test))
    )
    tell_about_classes(schema.target.classes, rows.tolist(), tested.tolist(), places[first].tolist())


def tell_about_classes(
    classes: Sequence[object], rows: Sequence[int], test: Sequence[int], first: Sequence[int]
) -> None:
    """Tell which classes have one row, which others have no test row, and which are written in two ways.

    Args:
        classes: the target's.
        rows: how many each has.
        test: how many of them are test rows.
        first: the place of each class's first row in the source, from 0.
    """
    _tell_spellings(classes)
    single = [place for place, count in enumerate(rows) if count == 1]
    if single:
        named = _listed({repr(classes[place]): f"row {first[place] + 1}" for place in single})
        has = "class {} has one row" if len(single) == 1 else "classes {} have one row each"
        tell(f"{has.format(named)}: learned from it and never tested; add rows, or leave it out")
    untested = [place for place, count in enumerate(rows) if count > 1 and not test[place]]
    if untested:
        named = _listed({repr(classes[place]): f"{rows[place]} rows" for place in untested})
        has = "class {} has" if len(untested) == 1 else "classes {} have"
        tell(f"{has.format(named)} no test row, so the test metrics say nothing of it; add rows")


def _tell_spellings(classes: Sequence[object]) -> None:
    """Tell classes that are one for a person: they differ in case or in spaces around."""
    found = alike(classes)
    if found:
        tell(f"classes {found} differ only in case or spaces; write each in one way")


def _listed(described: Mapping[str, str]) -> str:
    named = [f"{name} ({what})" for name, what in list(described.items())[:MOST_NAMED]]
    more = len(described) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def tell_constant(name: str, value: object, rows: int) -> None:
    """Tell a target that has one value in all rows."""
    tell(f"target {name!r} is {value} in all {rows} rows, so there is nothing to predict; check data.target")


def _tell_mostly_one(name: str, column: NDArray[np.generic]) -> None:
    values, counts = np.unique(column, return_counts=True)
    value, count, rows = values[counts.argmax()], int(counts.max()), len(column)
    if len(values) == 1:
        tell_constant(name, value, rows)
    elif count >= MOSTLY * rows:
        tell(
            f"target {name!r} is {value} in {count} of {rows} rows, so its metrics are mostly about these; look at "
            "the others by themselves, or predict first whether it is another value"
        )
