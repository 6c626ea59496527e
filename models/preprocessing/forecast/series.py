"""Rows in the order of time as rows to forecast: what was, what is known of the future, and what came.

A row stands for the moment before step `origin`. It holds the target's last `past` values as the input NAME_past, of
each known input `past + horizon` values, of each other input the last `past` ones, and as its target the `horizon` next
values of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, rows_of, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.forecast.rolling_folds import rolling_folds
from tidegate.models.preprocessing.forecast.settings import PAST, Forecast
from tidegate.models.preprocessing.forecast.steps import Steps, steps_of
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.splitting.rules import FREE, Parts, SplitRules

STATED = ("name", "kind", "scale")  # what an input of a forecast may say


class Series:
    """The rows to forecast of a series.

    Args:
        columns: raw rows of one series.
        target: the target columns, of which there has to be one.
        inputs: as stated; None: all other columns.
        forecast: what a row holds.
        time: the column of times, which is no input unless `inputs` names it; True: rows stand in the order of time.

    Attributes:
        columns: float32 arrays `(n, past)`, `(n, past + horizon)`, and the target `(n, horizon)`.
        inputs: of these columns, for `infer_schema`.
        origins: the step of the first value to forecast of each row `(n,)`, ascending.

    Raises:
        SchemaError: a column is no number, the series is too short, or an input states what a forecast has not.
        SplitError: see `steps.steps_of`.
    """

    def __init__(
        self,
        columns: Columns,
        target: Sequence[str],
        inputs: Sequence[Mapping[str, Any]] | None,
        forecast: Forecast,
        time: str | bool,
    ) -> None:
        self.forecast = forecast
        self._name = _only(target, columns)
        steps = steps_of(columns, time)
        entries = _entries(inputs, columns, self._name, time)
        names = [entry["name"] for entry in entries]
        for name in forecast.known:
            if name not in names:
                raise unknown_column(name, names, "data.forecast.known")
        length = int(steps.max()) + 1
        past, horizon = forecast.past, forecast.horizon
        if length < past + horizon:
            raise SchemaError(
                f"the series has {length} steps, and a row to forecast holds {past + horizon} (data.forecast.past "
                f"{past}, horizon {horizon}); expected more; add rows, or lower them"
            )
        self._values = _grid(columns[self._name], steps, length)
        self.origins = np.arange(past, length - horizon + 1)
        made = {f"{self._name}{PAST}": _windows(self._values, past, self.origins - past)}
        for name in names:
            width = past + horizon if name in forecast.known else past
            made[name] = _windows(_grid(columns[name], steps, length), width, self.origins - past)
        made[self._name] = _windows(self._values, horizon, self.origins)
        self._keep_whole(made, length, rows_of(columns))
        first = {"name": f"{self._name}{PAST}", "kind": "numeric", "scale": "none"}
        self.inputs = [first, *({**entry, "kind": "numeric"} for entry in entries)]

    def _keep_whole(self, made: Columns, length: int, rows: int) -> None:
        """Leave out the windows in which a value is missing."""
        whole = np.logical_and.reduce([np.isfinite(column).all(axis=1) for column in made.values()])
        if not whole.any():
            raise SchemaError(
                f"each of the {len(whole)} windows of {length} steps lacks a value: {rows} rows stand at these steps; "
                "expected some without gaps and missing values; fill them in, or lower data.forecast.past and horizon"
            )
        if not whole.all():
            tell(
                f"{int((~whole).sum())} of {len(whole)} windows lack a value, because {length - rows} of {length} "
                "steps have no row or a cell is empty; they are left out: fill the gaps in to learn from all"
            )
        self.origins = self.origins[whole]
        self.columns = {name: column[whole].astype(np.float32) for name, column in made.items()}

    @property
    def target(self) -> Target:
        """What is forecast."""
        return Target(
            names=(self._name,),
            task="forecasting",
            shape=(self.forecast.horizon,),
            quantiles=self.forecast.quantiles,
        )

    def apart(self, parts: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        """The row numbers of each part without those whose values to forecast are in a later part.

        Held-out rows are forecast from every `every`-th moment of their part.

        Raises:
            SchemaError: a part has no row left.
        """
        found, end = {}, np.inf
        for name in ("test", "validation", "train"):
            rows = parts[name]
            if not len(rows):
                found[name] = rows
                continue
            first = int(self.origins[rows].min())
            kept = rows[self.origins[rows] + self.forecast.horizon <= end]
            if name != "train":
                kept = kept[(self.origins[kept] - first) % self.forecast.every == 0]
            if not len(kept):
                raise SchemaError(
                    f"the {name} part has {len(rows)} moments, and each is less than a horizon of "
                    f"{self.forecast.horizon} steps before the next part; expected more; add rows, lower the horizon, "
                    "or change data.split"
                )
            found[name], end = kept, first
        return {name: found[name] for name in parts}

    def check_folds(self, parts: Mapping[str, NDArray[np.int64]], folds: int | None) -> None:
        """Refuse a backtest that has too few moments, before a model is trained; raises SplitError."""
        if folds is not None:
            learned = self.origins[np.concatenate([parts["train"], parts["validation"]])]
            share = len(parts["validation"]) / len(learned)
            rolling_folds(learned, self.forecast.horizon, folds, share)

    def measured(self, parts: Mapping[str, NDArray[np.int64]]) -> Target:
        """The target with what MASE divides by, from the training part of `apart`."""
        return self.target.model_copy(update={"naive_error": self.naive_error(parts["train"])})

    def naive_error(self, learned: NDArray[np.int64]) -> float | None:
        """What MASE divides by: the mean absolute difference of values a season apart, up to the end of training.

        Hyndman, Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting 22(4),
        2006. None where it is 0, or not defined.

        Args:
            learned: row numbers of the training part.
        """
        end = int(self.origins[learned].max()) + self.forecast.horizon
        known = self._values[:end].astype(np.float64)
        apart = np.abs(known[self.forecast.season :] - known[: -self.forecast.season])
        there = apart[np.isfinite(apart)]
        return float(there.mean()) if there.size and there.any() else None


def series_of(
    columns: Columns,
    parts: Parts,
    target: Sequence[str],
    inputs: Sequence[Mapping[str, Any]] | None,
    stated: Mapping[str, Any],
    rules: SplitRules,
) -> tuple[Series, SplitRules]:
    """The rows to forecast, and how they are divided: by time.

    Args:
        columns, target, inputs: see `Series`.
        parts: of the raw rows.
        stated: the keys of `data.forecast`.
        rules: how the data is divided.

    Raises:
        SchemaError: see `Series`.
        SplitError: it is divided by something else, see `Series` too.
    """
    if rules.group or rules.column or (parts != FREE).any():
        raise SplitError(
            "data.forecast is stated, and data.split divides by a group, a column or files; expected shares of "
            "the series in the order of time; leave the others out"
        )
    series = Series(columns, target, inputs, Forecast.of(stated), rules.time or True)
    return series, replace(rules, time=True, folds=None)


def _only(target: Sequence[str], columns: Columns) -> str:
    if len(target) != 1:
        raise SchemaError(
            f"data.target is {', '.join(target) or 'nothing'}, and data.forecast is stated; expected one column, the "
            "series to forecast; name one, and others in data.inputs"
        )
    name = target[0]
    if name not in columns:
        raise unknown_column(name, columns, "target")
    _require_numbers(name, columns[name], "the series to forecast")
    if f"{name}{PAST}" in columns:
        raise SchemaError(
            f"{name}{PAST} is a column of the data, and the name of the input of the target's last values; expected "
            "another name; rename the column"
        )
    return name


def _entries(
    inputs: Sequence[Mapping[str, Any]] | None, columns: Columns, target: str, time: str | bool
) -> list[Mapping[str, Any]]:
    stated = [{"name": name} for name in columns if name not in (target, time)] if inputs is None else inputs
    for entry in stated:
        name = entry["name"]
        if name == target:
            raise SchemaError(
                f"{name!r} is both input and target; its last values are the input {name}{PAST} in any case; leave it "
                "out of data.inputs"
            )
        if name not in columns:
            raise unknown_column(name, columns, "input")
        more = [key for key, value in entry.items() if key not in STATED and value is not None]
        if more or entry.get("kind") not in (None, "numeric", "number"):
            said = ", ".join(more) or f"kind {entry['kind']}"
            raise SchemaError(
                f"input {name!r} states {said}, and data.forecast is stated; expected a number, with a scale at most; "
                "leave it out, or write the column as numbers"
            )
        _require_numbers(name, columns[name], "an input of a forecast")
    return [{key: entry[key] for key in STATED if entry.get(key) is not None} for entry in stated]


def _require_numbers(name: str, column: Array, role: str) -> None:
    if column.dtype == object or column.ndim > 1:
        held = (
            f"{next((value for value in column if value is not None), None)!r}"
            if column.ndim == 1
            else "arrays"
        )
        raise SchemaError(
            f"column {name!r} holds {held}, and is {role}; expected a number in each row; write it as numbers, such as "
            "a column of 0 and 1 for each category, or name other columns in data.inputs"
        )


def _grid(column: Array, steps: Steps, length: int) -> NDArray[np.float64]:
    """The values by step, NaN where there is none."""
    grid = np.full(length, np.nan)
    grid[steps] = column.astype(np.float64)
    return grid


def _windows(values: NDArray[np.float64], width: int, starts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, width)[starts])
