"""Schedules that are set, set anew, paused, listed and deleted; what could never start a run is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.released import PROOF
from tidegate.infra.errors import ConflictError
from tidegate.infra.system import processes
from tidegate.pipelines.commands.schedules.keeper import check_scheduler
from tidegate.pipelines.commands.schedules.managing import schedule
from tidegate.pipelines.commands.schedules.scheduler import NAME
from tidegate.pipelines.commands.schedules.setting import not_set, set_schedule
from tidegate.pipelines.errors import ExperimentError, PipelineError, UnknownNameError, UsageError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.scheduling.document import KEYS, ScheduleState, Start, change, find, require
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import promote, reserve, update

CRON = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    processes.stop(home.processes, NAME)


def experiment(folder: Path, **more: Any) -> Experiment:
    (folder / "rows.csv").write_text("x,y\n1,2\n")
    document = {"name": "wine", "data": {"source": "rows.csv", "target": "y"}, "model": {"family": "linear"}}
    return validate(document | more, "here").resolved(folder)


def put(home: Home, found: Experiment) -> str:
    return set_schedule(home, found, detach=False, executor="local").text


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "the experiment has no schedule and no trigger; expected one, such as"),
        ({"trigger": {"model": "wine"}}, "trigger.model: wine is the experiment's own endpoint"),
        (
            {"trigger": {"model": "digts"}},
            'no endpoint "digts" here; did you mean "digits"?; expected one of: digits',
        ),
        (
            {"trigger": {"new_data": "1m"}, "data": {"dataset": "wine"}},
            "has no data.source whose files could change",
        ),
        (
            {"trigger": {"new_data": "1m"}, "data": {"source": "gone.csv", "target": "y"}},
            "trigger.new_data: data.source",
        ),
    ],
)
def test_what_could_never_start_is_refused(
    home: Home, tmp_path: Path, more: dict[str, Any], sentence: str
) -> None:
    facts = {"run": "r", "trial": "t", "key": "k", "bundle": "b", "bento": "k:1"}
    update(home.store, "digits", lambda s: reserve(s, **facts, runtime="onnx", parity=PROOF), ConflictError)
    update(home.store, "digits", lambda s: promote(s, 1), ConflictError)
    with pytest.raises(ExperimentError) as caught:
        put(home, experiment(tmp_path, **more))
    assert sentence in str(caught.value)
    assert find(home.store, "wine") is None


def test_how_a_run_is_run_is_not_said_with_a_schedule(home: Home, tmp_path: Path) -> None:
    found = experiment(tmp_path, schedule=CRON)
    with pytest.raises(UsageError, match="--schedule with --detach: nothing is run now"):
        set_schedule(home, found, detach=True, executor="local")
    with pytest.raises(UsageError, match="--schedule with --executor inline"):
        set_schedule(home, found, detach=False, executor="inline")


def test_the_life_of_a_schedule(home: Home, tmp_path: Path) -> None:
    found = experiment(tmp_path, schedule=CRON, trigger={"new_data": "10m"})
    assert "`tidegate submit FILE --schedule` sets them" in next(iter(not_set(home, found)))
    assert "schedule wine is set; next start: " in put(home, found)
    assert list(not_set(home, found)) == []
    (item,) = check_scheduler(home)
    assert item["ok"]
    first = require(home.store, "wine")

    other = experiment(tmp_path, schedule=CRON | {"cron": "0 4 * * *"}, trigger={"new_data": "10m"})
    assert "differs from the one that is set" in next(iter(not_set(home, other)))
    assert "schedule wine is set anew" in put(home, other)
    second = require(home.store, "wine")
    assert second.handled >= first.handled
    assert second.looks.used == first.looks.used  # the data is the same, and is not new
    assert "schedule wine is as it was" in put(home, other)

    assert "is paused" in schedule(home, "pause", "wine").text
    (listed,) = schedule(home, "list").data
    assert (listed["paused"], listed["next"]) == (True, None)
    assert "0 4 * * * Europe/Berlin; new data for 10m" in schedule(home, "list").text
    assert "it is paused" in put(home, other)
    schedule(home, "resume", "wine")
    (listed,) = schedule(home, "list").data
    assert time.time() < listed["next"] < time.time() + 26 * 3600

    processes.stop(home.processes, NAME)
    assert "the home's scheduler does not run" in schedule(home, "list", "wine").text
    (item,) = check_scheduler(home)
    assert (item["ok"], item["fix"]) == (False, "tidegate up")
    schedule(home, "delete", "wine")
    (item,) = check_scheduler(home)
    assert item["ok"]
    assert schedule(home, "list").data == []


def test_a_name_is_needed_and_must_be_known(home: Home) -> None:
    with pytest.raises(UsageError, match="schedule pause needs NAME; received none"):
        schedule(home, "pause")
    with pytest.raises(UnknownNameError, match='no schedule "wine" here'):
        schedule(home, "delete", "wine")


def keep(home: Home, name: str, document: dict[str, Any], *owed: Start) -> None:
    state = ScheduleState(name=name, experiment=document, created=0, handled=time.time(), owed=owed)
    change(home.store, name, lambda _: state)


def test_one_that_cannot_be_read_hides_no_other_and_can_be_deleted(home: Home, tmp_path: Path) -> None:
    keep(home, "wine", experiment(tmp_path, schedule=CRON).model_dump(mode="json"))
    keep(home, "gone", {"name": "gone"})
    home.store.write(f"{KEYS}odd.json", b"{", None)
    listed = schedule(home, "list")
    assert [one["name"] for one in listed.data] == ["wine", "gone", "odd"]
    assert "0 3 * * * Europe/Berlin" in listed.text
    assert "gone: schedule gone: data: missing" in listed.text
    assert "odd: schedule odd was written by another version" in listed.text
    with pytest.raises(PipelineError, match="schedule odd was written by another version"):
        schedule(home, "list", "odd")
    for name in ("odd", "gone"):
        schedule(home, "delete", name)
    assert [one["name"] for one in schedule(home, "list").data] == ["wine"]


def test_what_a_trigger_saw_outlasts_a_pause(home: Home, tmp_path: Path) -> None:
    new = Start(id="new_data 1", cause="new_data", moment=1.0, at=1.0, queued=True)
    cron = Start(id="cron 1", cause="cron", moment=1.0, at=1.0)
    keep(home, "wine", experiment(tmp_path, schedule=CRON).model_dump(mode="json"), cron, new)
    schedule(home, "pause", "wine")
    assert require(home.store, "wine").owed == (new,)
    (listed,) = schedule(home, "list").data
    assert listed["next"] is None  # not while it is paused
