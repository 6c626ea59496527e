"""Schedules, triggers and approvals in the experiment file: what is wrong is said before anything is set."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.automation.approval import approval_of
from tidegate.pipelines.experiment.gate import compared_by, criteria, criteria_for
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.identity import Facts, content_of

GOOD = {"name": "wine", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}


def read(**more: Any) -> Any:
    return validate({**GOOD, **more}, "here")


def refused(**more: Any) -> str:
    with pytest.raises(ExperimentError) as caught:
        read(**more)
    return str(caught.value).removeprefix("here: ")


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (
            {"cron": "0 3 * *"},
            'schedule: cron "0 3 * *" has 4 fields; expected five: minute, hour, day of the month',
        ),
        ({"cron": "@daily"}, 'schedule: cron "@daily" has 1 fields; expected five'),
        ({"cron": "61 3 * * *"}, 'schedule: cron "61 3 * * *": '),
        ({"cron": "0 3 * * funday"}, 'schedule: cron "0 3 * * funday": '),
        ({"cron": "0 0 31 2 *"}, 'schedule: cron "0 0 31 2 *": Bad day-of-month; expected numbers'),
        ({"cron": "0 0 0 0 0 0"}, "has 6 fields; expected five"),
        (
            {"cron": "0 3 * * *", "timezone": "Europe/Berln"},
            'schedule: timezone "Europe/Berln" is not known; did you mean "Europe/Berlin"?; expected a name',
        ),
        ({"cron": "0 3 * * *", "timezone": "../../etc/passwd"}, "is not known"),
        ({"cron": "0 3 * * *", "timezone": ""}, 'timezone "" is not known'),
        (
            {"cron": "*/5 * * * *", "jitter": "5m"},
            "jitter is 300 s, and two moments of the cron are 300 s apart",
        ),
        ({"cron": "0 3 * * *", "jitter": "5"}, "expected a time such as 30s, 10m, 24h or 7d; correct it"),
        ({"cron": "0 3 * * *", "jitter": "0s"}, "expected a time such as 30s"),
        (
            {"cron": "0 3 * * *", "catch_up": "all"},
            "schedule.catch_up: received str 'all'; expected 'skip' or 'one'",
        ),
        ({"cron": "0 3 * * *", "overlap": "kill"}, "expected 'skip' or 'queue'"),
        ({"corn": "0 3 * * *"}, 'schedule.corn: unknown key; did you mean "cron"?'),
        (
            {"cron": "0 3 * * fri-sun"},
            "ranges from the smaller to the larger (sun is 0, sat is 6: fri,sat,sun for",
        ),
        ({"cron": "0 3 * * *", "jitter": "1\u0663m"}, "expected a time such as 30s"),
        ({"timezone": "UTC"}, "schedule.cron: missing; it is required"),
        ("0 3 * * *", "schedule: received str '0 3 * * *'; expected a mapping with keys of: cron, timezone"),
    ],
)
def test_a_wrong_schedule_is_refused(schedule: Any, sentence: str) -> None:
    assert sentence in refused(schedule=schedule)


@pytest.mark.parametrize(
    ("trigger", "sentence"),
    [
        ({}, "a trigger has none of its keys; expected one of new_data, drift and model"),
        ({"new_data": "10m", "drift": 0.2}, "a trigger has new_data and drift; expected one of"),
        ({"new_data": "10m", "for": "1h"}, "for is how long a drift has lasted, and there is no drift"),
        ({"new_data": 10}, "expected a text"),
        ({"new_data": "soon"}, "expected a time such as 30s"),
        ({"drift": 0}, "expected a number above 0"),
        ({"drift": float("inf")}, "received float inf; expected a finite number"),
        ({"drift": 0.2, "for_": "1h"}, 'unknown key; did you mean "for"?'),
        ({"drift": 0.2, "for": "always"}, "expected a time such as 30s"),
        ({"model": "Not A Name"}, "trigger"),
        ({"data": "10m"}, "unknown key"),
    ],
)
def test_a_wrong_trigger_is_refused(trigger: Any, sentence: str) -> None:
    assert sentence in refused(trigger=trigger)
    assert sentence in refused(trigger=[{"new_data": "1m"}, trigger])


@pytest.mark.parametrize(("kind", "one"), [("drift", 0.2), ("new_data", "1m"), ("model", "base")])
def test_a_second_trigger_of_a_kind_is_refused(kind: str, one: Any) -> None:
    named = "model: base" if kind == "model" else kind
    sentence = f"trigger has 2 entries with {named}; expected one; leave the others out"
    assert sentence in refused(trigger=[{kind: one}, {kind: one}])
    read(trigger=[{"model": "base"}, {"model": "other"}])


def test_what_starts_a_run_is_no_part_of_it() -> None:
    facts = Facts(data="d", model="", code={}, versions={}, trials=1)
    plain = content_of(read(), facts)
    scheduled = read(
        schedule={"cron": "0 3 * * mon-fri", "timezone": "Europe/Berlin", "jitter": "10m"},
        trigger=[{"new_data": "10m"}, {"drift": 0.25, "for": "1h"}, {"model": "base"}],
    )
    assert content_of(scheduled, facts) == plain
    assert read(trigger={"new_data": "10m"}).trigger[0].new_data == "10m"
    document = scheduled.model_dump(mode="json")
    assert validate(document, "here") == scheduled  # as a record and a schedule keep it


def test_an_approval_is_no_condition_and_is_a_part_of_a_run() -> None:
    both = read(gate=[{"metric": "test_accuracy", "minimum": 0.9}, {"approval": 2, "by": "24h"}]).gate
    alone = read(gate={"approval": 1}).gate
    approval = approval_of(both)
    assert approval is not None
    assert (approval.approval, approval.by) == (2, "24h")
    assert [one.metric for one in criteria(both)] == ["test_accuracy"]
    assert compared_by(alone) == []
    assert criteria_for(alone, "classification") == criteria_for([], "classification")
    assert approval_of("none") is None
    facts = Facts(data="d", model="", code={}, versions={}, trials=1)
    assert content_of(read(gate={"approval": 1}), facts) != content_of(read(), facts)


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ({"approval": 0}, "gate.approval: received int 0; expected a number of at least 1"),
        ({"approval": True}, "gate.approval: received bool True; expected a whole number"),
        ({"approval": "me"}, "gate.approval: received str 'me'; expected a whole number"),
        ({"approval": 1, "by": "tomorrow"}, "expected a time such as 30s, 10m, 24h or 7d"),
        ({"by": "24h"}, "gate.approval: missing; it is required"),
        (
            {"approval": 1, "minimum": 0.9},
            "approval and minimum stand in one entry; expected an entry for each",
        ),
        ([{"approval": 1}, {"approval": 2}], "gate has several entries with approval; expected one"),
        ([{"approval": 1, "metrics": "x"}], "gate.0.metrics: unknown key"),
    ],
)
def test_a_wrong_approval_is_refused(gate: Any, sentence: str) -> None:
    assert sentence in refused(gate=gate)
