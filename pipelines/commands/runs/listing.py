"""runs: every run, newest first, those that filters leave."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args

from tidegate.models.config.metrics import gated_as, near_metric
from tidegate.pipelines.commands.runs.winner import ranking_metric, selection_of
from tidegate.pipelines.errors import UsageError, nearest, suggested
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.ages import age_in_seconds
from tidegate.pipelines.state.home import Home, Status
from tidegate.pipelines.state.mirror import refresh

SHOWN = 2  # metrics a line
STATUSES: tuple[str, ...] = get_args(Status)
CONDITION = re.compile(r"\s*([\w.\-/ ]*[\w\-/])\s*(>=|<=|==|!=|=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Condition:
    """A condition on a metric, such as test_auc>0.8."""

    metric: str
    sign: str
    limit: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric is there and meets it."""
        value = metrics.get(self.metric)
        if value is None:
            return False
        return {
            ">": value > self.limit,
            "<": value < self.limit,
            ">=": value >= self.limit,
            "<=": value <= self.limit,
            "==": value == self.limit,
            "!=": value != self.limit,
        }[self.sign]


def runs(
    home: Home, *, status: Sequence[str] = (), since: str | None = None, metric: Sequence[str] = ()
) -> Result:
    """Runs, newest first.

    Args:
        home: the home.
        status: words to choose from, each one or several with commas; all when empty.
        since: an age such as 7d, or a date; None for any.
        metric: conditions such as test_auc>0.8, which all must hold.

    Raises:
        UsageError: a filter cannot be read, or names a metric that no run has.
    """
    wanted, after, conditions = _statuses(status), _moment(since), [_condition(one) for one in metric]
    refresh(home)
    found = [_row(home, folder.read()) for folder in home.run_folders()]
    conditions = _known_conditions(conditions, found)
    data = [
        row
        for row in found
        if row["status"] in wanted
        and row["created"] >= after
        and all(condition.holds(row["metrics"]) for condition in conditions)
    ]
    if not found:
        return Result(data, f"no runs in {home.path}; --home names another")
    if not data:
        return Result(data, f"none of the {len(found)} runs in {home.path} meets the filters")
    return Result(data, table(("run", "status", "created", "metrics"), [_shown(row) for row in data]))


def _row(home: Home, record: Any) -> dict[str, Any]:
    selected = selection_of(home, record)
    row: dict[str, Any] = record.model_dump(
        include={"run", "name", "status", "endpoint", "created", "finished", "reason"}
    )
    measured = {
        "metrics": selected["metrics"] if selected else {},
        "metric": ranking_metric(record, selected),
    }
    return row | measured | {"synced": record.synced}


def _shown(row: Mapping[str, Any]) -> tuple[str, ...]:
    created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["created"]))
    return (
        row["run"],
        row["status"],
        created,
        metrics_text(row["metrics"], row["metric"]) or row["reason"][:60],
    )


def metrics_text(metrics: Mapping[str, float], first: str | None) -> str:
    """The gate's metric and another one of the test rows."""
    names = [first] if first in metrics else []
    names += [name for name in metrics if name.startswith("test_") and name != first]
    return "  ".join(f"{name} {metrics[str(name)]:.4f}" for name in names[:SHOWN])


def _statuses(given: Sequence[str]) -> set[str]:
    words = [word.strip() for one in given for word in one.split(",")]
    for word in words:
        if word not in STATUSES:
            raise UsageError(
                f'--status is "{word}"{nearest(word, STATUSES)}; expected one of: {", ".join(STATUSES)}'
            )
    return set(words or STATUSES)


def _moment(since: str | None) -> float:
    """Seconds since the epoch; a date without a time is its midnight here."""
    if since is None:
        return 0.0
    age = age_in_seconds(since)
    if age is not None:
        return time.time() - age
    try:
        return datetime.fromisoformat(since).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f'--since is "{since}"; expected an age such as 7d, 12h or 30m, or a date such as 2026-11-01 '
            "or 2026-11-01T09:30"
        ) from error


def _condition(text: str) -> Condition:
    parts = CONDITION.fullmatch(text)
    try:
        if parts is None:
            raise ValueError(text)
        sign = "==" if parts[2] == "=" else parts[2]
        return Condition(parts[1], sign, float(parts[3]))
    except ValueError as error:
        raise UsageError(
            f'--metric is "{text}"; expected a metric, one of > >= < <= == != and a number, '
            "in quotes, such as --metric 'test_auc>0.8'"
        ) from error


def _known_conditions(conditions: Iterable[Condition], found: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """The conditions, with the runs' spelling of each metric."""
    known = sorted({name for row in found for name in row["metrics"]})
    return [
        replace(condition, metric=_known_metric(condition.metric, known)) if known else condition
        for condition in conditions
    ]


def _known_metric(metric: str, known: Sequence[str]) -> str:
    for name in (metric, gated_as(metric)):
        if name in known:
            return name
    raise UsageError(
        f'--metric: no run has a metric "{metric}"{suggested(near_metric(metric, known))}; '
        f"expected one of: {', '.join(known)}"
    )
