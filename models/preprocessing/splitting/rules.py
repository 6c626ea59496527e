"""How rows are divided: by fractions of rows or of groups, by time, by a column that names the parts, or by files.

A file or a column gives rows their part; what neither of them divides is divided by the fractions: by a row's content
(`splits`), by its group (`group_split`) or by its time (`time_split`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, missing, rows_of, text_of
from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests, cell_digests
from tidegate.models.preprocessing.splitting.group_split import by_group
from tidegate.models.preprocessing.splitting.row_identity import RowIdentity, identify, share_of
from tidegate.models.preprocessing.splitting.splits import (
    ORDER,
    PARTS,
    Rows,
    check_fractions,
    check_learnable,
    classes_of,
    divide_rows,
)
from tidegate.models.preprocessing.splitting.time_split import by_time, moments

Parts = NDArray[np.int8]

FREE = -1  # the part of a row that the fractions divide
NAMES = ("train", "validation", "test")
# How people call the parts, in any capitals.
WORDS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}


@dataclass(frozen=True)
class SplitRules:
    """What `data.split` says.

    Attributes:
        validation, test: fractions of the rows that have no stated part.
        seed: of the parts that are drawn.
        folds: of a cross-validation, or None.
        time, group, column: the columns that decide, or None; time is True where the rows stand in its order.
        files: by part, the file that holds its rows.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    folds: int | None = None
    time: str | bool | None = None
    group: str | None = None
    column: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, stated: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> SplitRules:
        """From the keys of `data.split`.

        Args:
            stated: what is written; a fraction may be the name of a file.
            files: by part, where those files are; None: as they are named.

        Raises:
            SplitError: an unknown key.
        """
        keys = [one.name for one in fields(cls) if one.name != "files"]
        unknown = sorted(set(stated) - set(keys))
        if unknown:
            raise SplitError(
                f"data.split has {', '.join(unknown)}; expected {', '.join(keys)}; remove the others"
            )
        named = {part: Path(stated[part]) for part in NAMES[1:] if isinstance(stated.get(part), str | Path)}
        rest = {key: value for key, value in stated.items() if key not in named}
        return cls(**rest, files={part: (files or {}).get(part, path) for part, path in named.items()})

    @property
    def columns(self) -> dict[str, str]:
        """By option, the column that it names."""
        named = {"time": self.time, "group": self.group, "column": self.column}
        return {f"data.split.{key}": name for key, name in named.items() if isinstance(name, str)}

    @property
    def chosen(self) -> bool:
        """Whether more than fractions of rows is stated, so that the user has thought of times and groups."""
        return bool(self.time or self.columns or self.files)


def groups_of(rules: SplitRules, columns: Columns) -> Digests | None:
    """A digest of each row's group, or None without groups; raises SplitError where a row has none."""
    return None if rules.group is None else group_digests(rules.group, columns[rules.group])


def group_digests(name: str, column: Array) -> Digests:
    """A digest of each row's group; raises SplitError where a row has none."""
    absent = np.flatnonzero(missing(column))
    if len(absent):
        raise SplitError(
            f"data.split.group {name!r} is missing in {len(absent)} of {len(column)} rows, first in row "
            f"{absent[0] + 1}; expected a group for each row; fill it in, or leave these rows out"
        )
    return cell_digests(column)


def parts_of_column(rules: SplitRules, columns: Columns, parts: Parts) -> Parts:
    """The parts, with those that the column names where no file gave one.

    Raises:
        SplitError: a value that names no part, or a stated share of rows that the column names.
    """
    if rules.column is None:
        return parts
    column = columns[rules.column]
    values = [None if value is None else text_of(value) for value in column.tolist()]
    found = np.array([WORDS.get(str(value).strip().lower(), FREE - 1) for value in values], np.int8)
    wrong = np.flatnonzero((found < FREE) & (parts == FREE))
    if len(wrong):
        raise SplitError(
            f"data.split.column {rules.column!r} holds {values[wrong[0]]!r} in row {wrong[0] + 1} and names no part in "
            f"{len(wrong)} of {len(values)} rows; expected train, validation or test; correct it"
        )
    _require_used(rules, found[parts == FREE])
    # Rows of training are divided further where the column names no validation or no test rows.
    return np.where(parts == FREE, np.where(found == 0, FREE, found), parts).astype(np.int8)


def _require_used(rules: SplitRules, found: Parts) -> None:
    """Refuse a share of rows that the column names; the usual one may be what nobody stated."""
    for place, part in enumerate(NAMES):
        share, usual = getattr(rules, part, None), getattr(SplitRules, part, None)
        if part not in rules.files and share != usual and (found == place).any():
            raise SplitError(
                f"data.split.{part} is {share}, and column {rules.column!r} names the {part} rows; expected one of the "
                f"two; leave {part} out, or divide by shares alone"
            )


def divide(
    schema: Schema,
    columns: Columns,
    rules: SplitRules,
    parts: Parts | None = None,
    identity: RowIdentity | None = None,
    groups: Digests | None = None,
) -> dict[str, Rows]:
    """The row numbers of "train", "validation" and "test".

    Args:
        schema: of the data.
        columns: all rows, with the column of times if there is one.
        rules: how they are divided.
        parts: the part of each row that a file, a column or a published split gives, else FREE; None: all FREE.
        identity: of the rows, if it is known.
        groups: a digest of each row's group, if they are divided by it.

    Raises:
        SplitError: the rows cannot be divided so, or a class has no training row.
    """
    parts = published_parts(columns, 0) if parts is None else parts
    fixed = {name: np.flatnonzero(parts == place) for place, name in enumerate(NAMES) if place}
    wanted = {"test": rules.test, "validation": rules.validation}
    fractions = {name: part for name, part in wanted.items() if not len(fixed[name])}
    check_fractions(fractions.get("validation", 0.0), fractions.get("test"))
    classes, free = classes_of(schema, columns), np.flatnonzero(parts == FREE)
    if not len(free):
        raise SplitError("no row is left for training; expected some; correct data.split")
    units = (identity or identify(schema, columns)).unit
    if rules.time:
        train, held = by_time(free, _times(rules, columns)[free], fractions)
    elif groups is not None:
        train, held = by_group(free, groups[free], classes[free], fractions, rules.seed)
    else:
        train, held = divide_rows(free, classes, units, fractions, rules.seed, PARTS)
    found = {"train": train, **{name: held.get(name, fixed[name]) for name in NAMES[1:]}}
    if rules.time or groups is not None:
        found = {name: _shuffled(rows, units, rules.seed) for name, rows in found.items()}
    for name in ("test", "validation"):
        check_learnable(schema, classes[found["train"]], classes[found[name]], name)
    return found


def _times(rules: SplitRules, columns: Columns) -> NDArray[np.generic]:
    """A number for each row that grows with its time."""
    if not isinstance(rules.time, str):
        return np.arange(rows_of(columns))
    return moments(rules.time, columns[rules.time])


def _shuffled(rows: Rows, units: Digests, seed: int) -> Rows:
    """The rows in an order that does not depend on their places, so that the first ones stand for all."""
    return rows[np.argsort(share_of(units[rows], ORDER, seed), kind="stable")]


def split_summary(rules: SplitRules, columns: Columns, index: Mapping[str, Rows]) -> dict[str, Any]:
    """For the summary of the data: by what it was divided, and the first and last time, or the groups, of each part."""
    found: dict[str, Any] = {}
    if isinstance(rules.time, str):
        times = _times(rules, columns)
        ends = {
            name: rows[[np.argmin(times[rows]), np.argmax(times[rows])]]
            for name, rows in index.items()
            if len(rows)
        }
        found = {
            "time": rules.time,
            **{name: columns[rules.time][rows].tolist() for name, rows in ends.items()},
        }
    if rules.group is not None:
        groups = group_digests(rules.group, columns[rules.group])
        found = {"group": rules.group, **{name: len(np.unique(groups[rows])) for name, rows in index.items()}}
    return {"split": found} if found else {}


def published_parts(columns: Columns, published: int) -> Parts:
    """The parts of a data set whose last rows are its published test rows."""
    parts = np.full(rows_of(columns), FREE, np.int8)
    parts[len(parts) - published :] = NAMES.index("test")
    return parts


def file_parts(sizes: Sequence[tuple[str, int]]) -> Parts:
    """The parts of rows of several files, one after the other: each its part, "" for the source, and its rows."""
    return np.concatenate(
        [np.full(rows, NAMES.index(name) if name else FREE, np.int8) for name, rows in sizes]
    )
