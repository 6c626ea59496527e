"""The target columns: their names and options, and rows without a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.models.config.losses import TASK_OF_KIND
from tidegate.models.data.columns import Array, Columns, missing, rows_of
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import TEXT_OPTIONS


def parse_target(
    target: Sequence[str | Mapping[str, Any]] | None, task: str | None
) -> tuple[list[str], dict[str, Any], str | None]:
    """The target's names, its text options, and the task, which follows from kind text or boxes."""
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in target or ()]
    options = {key: entry[key] for entry in entries for key in TEXT_OPTIONS if entry.get(key) is not None}
    chosen = next((TASK_OF_KIND[entry["kind"]] for entry in entries if entry.get("kind")), task)
    return [entry["name"] for entry in entries], options, chosen


def check_text_options(names: Sequence[str], options: Mapping[str, Any], task: str | None) -> None:
    """Refuse `tokens`, `length` and `vocabulary` for a target that is not a text."""
    if options and task != "generation":
        raise SchemaError(
            f"target {', '.join(names)} has {', '.join(options)}; expected them only for a text; set data.task: "
            "generation, or leave them out"
        )


def without_target(columns: Columns, names: Sequence[str]) -> Array:
    """Which rows have no target, `(n,)` bool."""
    if not names:
        return np.zeros(rows_of(columns), np.bool_)
    return np.asarray(np.stack([missing(columns[name]) for name in names]).any(axis=0))


def infinite_targets(columns: Columns, names: Sequence[str]) -> int:
    """How many rows have an infinite number as a target; they count as rows without one."""
    numbers = [columns[name] for name in names if columns[name].dtype.kind == "f"]
    infinite = [np.isinf(column).reshape(len(column), -1).any(axis=1) for column in numbers]
    return int(np.logical_or.reduce(infinite).sum()) if infinite else 0


def tell_infinite_targets(names: Sequence[str], infinite: int, rows: int) -> None:
    """Tell how many of all rows have an infinite number as a target, if there is one."""
    if infinite:
        tell(
            f"target {', '.join(names)} is an infinite number in {infinite} of {rows} rows, which are dropped as rows "
            "without a target are; write what is meant, or leave these rows out"
        )


def check_kept(names: Sequence[str], kept: int, dropped: int) -> None:
    """Refuse data in which no row has a target."""
    if kept == 0 and dropped:
        raise SchemaError(
            f"target {', '.join(names)} has no value in any of {dropped} rows; expected some, because rows without a "
            "target are dropped; check data.target and the source"
        )
