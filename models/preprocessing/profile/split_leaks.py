"""What lets a model look better on its test rows than it is: told, not repaired.

Only what the data shows is told: rows that contradict each other, test rows or groups that are training rows too, a
column whose name and values are those of groups, rows in the order of a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, concat, rows_of, take
from tidegate.models.data.data_warnings import recorded, tell
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests, cell_digests
from tidegate.models.preprocessing.splitting.row_identity import RowIdentity, identify, in_conflict

Rows = NDArray[np.int64]

GROUP = re.compile(
    r"(.*[_ .-])?(id|ids|uuid|user|customer|client|patient|subject|person|speaker|household|session|device|group)",
    re.I,
)
GROUP_CAMEL = re.compile(r"[a-z]+Id")
TIME = re.compile(r"(.*[_ .-])?(date|datetime|time|timestamp|day|month|year)([_ .-].*)?|.*_(at|on)", re.I)
DATE = re.compile(r"\d{4}-\d\d(-\d\d)?([T ]\d\d:\d\d.*)?")
FEWEST_STEPS = 4  # of a window
LOOKED_AT = 2_000  # rows whose overlap is looked for
FEWEST_VALUES = 20  # of a column of groups or of times
LARGEST_GROUPS = 100  # of so many rows on average, above which a column names kinds rather than groups


def tell_leaks(
    schema: Schema,
    columns: Columns,
    parts: Mapping[str, Rows],
    identity: RowIdentity,
    chosen: bool,
    groups: Digests | None = None,
) -> None:
    """Say what the data shows.

    Args:
        schema: of the data.
        columns: all rows, in the order in which they were read.
        parts: the row numbers of each split.
        identity: of the rows.
        chosen: whether someone chose the parts, by test rows of their own, a time, a group or a column.
        groups: a digest of each row's group, which must not be in two parts.
    """
    if schema.target.task == "classification":
        _tell_conflicts(schema, columns, identity)
    if chosen:
        _tell_known_rows(parts, identity)
        if groups is not None:
            _tell_cut_groups(parts, groups)
        return  # whoever chose the parts has divided groups and times as they should be
    for field in schema.inputs:
        column = columns[field.name]
        if field.kind not in ("image", "sequence") and column.ndim == 1:
            _tell_group(field.name, column, parts)
            _tell_time(field.name, column)
        if column.dtype.kind == "f" and column.ndim > 1:
            _tell_windows(field.name, column[:LOOKED_AT])


class FirstRows:
    """The first rows of data that passes in chunks, which are told of as the rows of other data are.

    Args:
        most: rows to keep.
    """

    def __init__(self, most: int) -> None:
        self._most, self._rows, self._kept = most, 0, 0
        self._columns: list[Columns] = []
        self._parts: dict[str, list[Rows]] = {"train": [], "validation": [], "test": []}

    def add(self, columns: Columns, parts: Mapping[str, Rows]) -> None:
        """More rows, and the row numbers of each split among them."""
        rows = rows_of(columns)
        kept = min(rows, self._most - self._kept)
        self._rows += rows
        if kept:
            self._columns.append(take(columns, np.arange(kept)))
            for name, own in parts.items():
                self._parts[name].append(self._kept + own[own < kept])
            self._kept += kept

    def tell_leaks(self, schema: Schema, chosen: bool) -> None:
        """Say what these rows show, after all rows were added; `chosen` as above."""
        columns = concat(self._columns)
        parts = {name: np.concatenate(own) for name, own in self._parts.items()}
        with recorded() as found:
            tell_leaks(schema, columns, parts, identify(schema, columns), chosen)
        some = f"the first {self._kept:,} of {self._rows:,} rows were looked at: "
        for sentence in found:
            tell(sentence if self._kept == self._rows else some + sentence)


def _tell_conflicts(schema: Schema, columns: Columns, identity: RowIdentity) -> None:
    found = np.flatnonzero(in_conflict(identity.inputs, identity.content))
    if not len(found):
        return
    first = found[0]
    same = found[identity.inputs[found] == identity.inputs[first]]
    other = same[identity.content[same] != identity.content[first]][0]
    name = schema.target.names[0]
    labels = " and ".join(map(repr, columns[name][[first, other]].tolist()))
    tell(
        f"{len(found):,} of {len(identity.inputs):,} rows have inputs that also occur with another {name!r}, such as "
        f"rows {first + 1} and {other + 1} with {labels}; no model can be right on all of them; correct the labels, or "
        "add an input that tells these rows apart"
    )


def _tell_known_rows(parts: Mapping[str, Rows], identity: RowIdentity) -> None:
    """Tell how many held-out rows, with inputs and target, are in an earlier part too."""
    learned = identity.content[parts["train"]]
    for name in ("validation", "test"):
        known = int(np.isin(identity.content[parts[name]], learned).sum())
        if known:
            tell(
                f"{known:,} of {len(parts[name]):,} {name} rows are training rows too, so the {name} figures are too "
                "good; leave them out of one of the two"
            )
        learned = np.concatenate([learned, identity.content[parts[name]]])


def _tell_cut_groups(parts: Mapping[str, Rows], groups: Digests) -> None:
    """Tell how many groups are in two parts, which only stated parts can do."""
    learned = groups[np.concatenate([parts["train"], parts["validation"]])]
    cut = np.intersect1d(groups[parts["test"]], learned)
    if len(cut):
        tell(
            f"{len(cut):,} groups have test rows and training or validation rows, so the test figures are too good for "
            "a new group; correct the file or the column that names the parts"
        )


def _tell_group(name: str, column: Array, parts: Mapping[str, Rows]) -> None:
    if not (GROUP.fullmatch(name) or GROUP_CAMEL.fullmatch(name)) or (
        column.dtype.kind == "f" and _has_fractions(column)
    ):
        return
    values = cell_digests(column)
    distinct = len(np.unique(values))
    if distinct < FEWEST_VALUES or not 2 <= len(values) / distinct <= LARGEST_GROUPS:
        return
    shared = np.isin(values[parts["test"]], values[parts["train"]]).mean() if len(parts["test"]) else 0.0
    if shared >= 0.5:
        tell(
            f"column {name!r} has {distinct:,} values in {len(values):,} rows, and {100 * shared:.0f} % of the test "
            f"rows have one that training rows have too; if the rows of one {name} resemble each other, the test "
            f"figures are too good for a new {name}; judge the model by rows whose {name} is in no training row: state "
            f"data.split: {{group: {name}}}"
        )


def _has_fractions(column: Array) -> bool:
    known = column[np.isfinite(column)]
    return bool((known != np.round(known)).any())


def _tell_time(name: str, column: Array) -> None:
    dates = column.dtype.kind == "M" or _are_dates(column)
    if not dates and not (column.dtype.kind in "iuf" and TIME.fullmatch(name)):
        return
    values = column.astype(str) if column.dtype == object else column
    if (column.dtype == object and any(value is None for value in column)) or not (
        values[1:] >= values[:-1]
    ).all():
        return
    if len(np.unique(values)) >= FEWEST_VALUES:
        tell(
            f"the rows are in the order of {name!r}, from {values[0]} to {values[-1]}, and the parts are drawn at "
            "random: the model is tested between rows that it learned from; if it will be asked about later ones, the "
            f"test figures are too good; keep the last rows apart: state data.split: {{time: {name}}}"
        )


def _tell_windows(name: str, column: Array) -> None:
    """Tell rows that are windows of one series, each a step later than the row before."""
    if len(column) <= FEWEST_VALUES or column.shape[1] < FEWEST_STEPS:
        return
    same = np.isclose(column[1:, :-1], column[:-1, 1:], equal_nan=True)
    steps = np.abs(np.diff(column.astype(np.float64), axis=1))
    if same.reshape(len(same), -1).all(axis=1).mean() > 0.9 and np.nan_to_num(steps).max(initial=0.0) > 0:
        tell(
            f"column {name!r}: the rows are windows of one series, each a step later than the row before, and the "
            "parts are drawn at random: test rows overlap with rows that the model learned from, and the test figures "
            "are too good; state data.split: {time: true}, which tests the last rows"
        )


def _are_dates(column: Array) -> bool:
    if column.dtype != object or not len(column):
        return False
    some = [column[row] for row in np.linspace(0, len(column) - 1, 20).astype(int)]
    return all(isinstance(value, str) and DATE.fullmatch(value) for value in some)
