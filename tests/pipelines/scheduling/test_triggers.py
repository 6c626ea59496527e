"""What data, drift and other endpoints ask for: once for each change, and only what has lasted."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bucket_servers import BucketServer
from tests.pipelines.released import PROOF
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import open_bucket
from tidegate.pipelines.commands.schedules.looking import Looker, Unseen, data_stamp, judge, look
from tidegate.pipelines.experiment.automation.schedule import Trigger
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.scheduling.document import Looks, ScheduleState
from tidegate.pipelines.scheduling.triggers import fire, see_data, see_drift, see_release
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import deleted, promote, reserve, update

NEW = Trigger(new_data="10m")
DRIFT = Trigger.model_validate({"drift": 0.25, "for": "1h"})
MINUTE, HOUR = 60.0, 3600.0


def state(**more: Any) -> ScheduleState:
    return ScheduleState(name="wine", experiment={}, created=0, handled=0, **more)


def test_data_is_new_when_it_has_changed_and_then_stays() -> None:
    looks, fired = Looks(), []
    stamps = {0: "a", 20: "b", 25: "c", 50: "c"}  # by minute: still being written at 25
    stamp = ""
    for minute in range(60):
        stamp = stamps.get(minute, stamp)
        looks, fires = see_data(looks, NEW, stamp, minute * MINUTE)
        fired += [minute] if fires else []
    assert fired == [35]
    assert see_data(looks, NEW, "c", 9999 * MINUTE)[1] is False


def test_a_clock_that_is_set_back_makes_data_no_older() -> None:
    looks = Looks(stamp="b", since=1000 * HOUR, used="a")
    looks, fires = see_data(looks, NEW, "b", HOUR)
    assert not fires
    assert see_data(looks, NEW, "b", HOUR + 10 * MINUTE)[1]


def test_drift_must_last_and_counts_once_for_a_release() -> None:
    looks, fired = Looks(), []
    indexes = {0: 0.1, 30: 0.3, 50: 0.1, 60: 0.4}  # by minute: twenty minutes are too short
    index = 0.0
    for minute in range(300):
        index = indexes.get(minute, index)
        looks, fires = see_drift(looks, DRIFT, index, "0.1", minute * MINUTE)
        fired += [minute] if fires else []
    assert fired == [120]
    looks, fires = see_drift(looks, DRIFT, 0.4, "0.2", 300 * MINUTE)  # the new release has drifted too
    assert fires


def test_drift_that_came_and_went_counts_again() -> None:
    looks, fires = see_drift(Looks(drifting=0.0), DRIFT, 0.3, "0.1", HOUR)
    assert fires
    looks, _ = see_drift(looks, DRIFT, 0.0, "0.1", 2 * HOUR)
    looks, _ = see_drift(looks, DRIFT, 0.3, "0.1", 3 * HOUR)
    assert see_drift(looks, DRIFT, 0.3, "0.1", 4 * HOUR)[1]


def test_an_endpoint_that_does_not_answer_has_no_drift_and_forgets_none() -> None:
    looks, _ = see_drift(Looks(drifting=0.0, drifted="0.1"), DRIFT, None, "0.1", HOUR)
    assert (looks.drifting, looks.drifted) == (None, "0.1")


def test_another_endpoint_has_another_release() -> None:
    looks, fires = see_release(Looks(), "base", "0.1")
    assert not fires  # the first look
    assert not see_release(looks, "base", "0.1")[1]
    looks, fires = see_release(looks, "base", "0.2")
    assert fires
    looks, fires = see_release(looks, "base", "")
    assert not fires
    assert see_release(looks, "base", "1.1")[1]


def test_triggers_owe_one_start_however_many_fire() -> None:
    owed = fire(state(), ["new_data", "drift"], 5.0)
    assert [one.cause for one in owed.owed] == ["new_data"]
    assert fire(owed, ["model"], 6.0) == owed
    assert fire(state(), [], 6.0).owed == ()


def experiment(folder: Path, *triggers: dict[str, Any]) -> Experiment:
    (folder / "rows").mkdir(exist_ok=True)
    (folder / "rows" / "a.csv").write_text("x,y\n1,2\n")
    document = {
        "name": "wine",
        "data": {"source": "rows", "target": "y"},
        "model": {"family": "linear"},
        "trigger": list(triggers),
    }
    return validate(document, "here").resolved(folder)


def test_every_change_of_the_files_is_seen(tmp_path: Path) -> None:
    home, found = Home(tmp_path / "home"), experiment(tmp_path, {"new_data": "10m"})
    first = data_stamp(home, found)
    assert data_stamp(home, found) == first
    (tmp_path / "rows" / "b.csv").write_text("x,y\n1,2\n")
    second = data_stamp(home, found)
    os.utime(tmp_path / "rows" / "b.csv", (1, 1))
    third = data_stamp(home, found)
    assert len({first, second, third}) == 3
    (tmp_path / "rows" / "b.csv").unlink()
    assert data_stamp(home, found) == first


@pytest.mark.parametrize("cloud", ["s3", "google", "azure"])
def test_every_change_in_a_bucket_is_seen(cloud: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: BucketServer = request.getfixturevalue(cloud)
    bucket, stamps = open_bucket(server.url(tmp_path.name)), []
    found = experiment(tmp_path, {"new_data": "10m"})
    found = found.model_copy(update={"data": found.data.model_copy(update={"source": bucket.url})})
    for name, content in (("a.csv", b"1"), ("a.csv", b"2"), ("b.csv", b"2")):
        bucket.upload(io.BytesIO(content), name)
        stamps.append(data_stamp(Home(tmp_path / "home"), found))
    assert len(set(stamps)) == 3
    assert data_stamp(Home(tmp_path / "home"), found) == stamps[-1]


def test_data_that_is_gone_is_a_problem_and_no_new_data(tmp_path: Path) -> None:
    home, found = Home(tmp_path / "home"), experiment(tmp_path, {"new_data": "10m"})
    before = judge(state(), found, look(home, found), 0.0)
    (tmp_path / "rows" / "a.csv").unlink()
    (tmp_path / "rows").rmdir()
    seen = look(home, found)
    assert isinstance(seen["new_data"], Unseen)
    after = judge(before, found, seen, HOUR)
    assert "does not exist" in after.looks.problem
    assert after.owed == ()
    back = judge(after, experiment(tmp_path, {"new_data": "10m"}), look(home, found), 2 * HOUR)
    assert back.looks.problem == ""


def test_a_release_of_another_endpoint_owes_a_start(tmp_path: Path) -> None:
    home, found = Home(tmp_path / "home"), experiment(tmp_path, {"model": "base"})

    def release(key: str) -> None:
        facts = {"run": key, "trial": "t", "key": key, "bundle": "b", "bento": f"{key}:1"}
        known = update(
            home.store, "base", lambda s: reserve(s, **facts, runtime="onnx", parity=PROOF), ConflictError
        )
        update(home.store, "base", lambda s: promote(s, known.releases[-1].number), ConflictError)

    release("one")
    known = judge(state(), found, look(home, found), 0.0)
    assert known.owed == ()
    release("two")
    after = judge(known, found, look(home, found), 1.0)
    assert [one.cause for one in after.owed] == ["model"]
    update(home.store, "base", deleted, ConflictError)
    release("three")  # release 1 of the next incarnation
    looks = after.model_copy(update={"owed": ()})
    assert len(judge(looks, found, look(home, found), 2.0).owed) == 1


def test_drift_is_told_with_its_number(tmp_path: Path) -> None:
    found = experiment(tmp_path, {"drift": 0.25, "for": "1h"})
    known = judge(state(), found, {"drift": ("0.1", 0.31)}, 0.0)
    assert known.outbox == ()
    known = judge(known, found, {"drift": ("0.1", 0.31)}, HOUR)
    (told,) = known.outbox
    assert told.title == "requests to endpoint wine have drifted: 0.31, for 1h"
    assert [one.cause for one in known.owed] == ["drift"]


def test_a_bucket_that_does_not_answer_keeps_nobody_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once until it answers; what comes then counts."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "any")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        document = {
            "name": "wine",
            "data": {"source": "s3://rows/a.csv", "target": "y"},
            "model": {"family": "linear"},
            "trigger": {"new_data": "1m"},
        }
        experiment = validate(document, "here")
        known = ScheduleState(name="wine", experiment=document, created=0, handled=0)
        looker = Looker(Home(tmp_path), patience=0.2)
        begun = time.monotonic()
        assert [looker.look(known, experiment) for _ in range(3)] == [None] * 3
        assert time.monotonic() - begun < 15  # of the minute and more that it takes
        assert capsys.readouterr().out.count("has not answered for 0.2 s") == 1
    later = known.model_copy(update={"experiment": {**document, "trigger": {"model": "base"}}})
    seen = Looker(Home(tmp_path)).look(later, validate(later.experiment, "here"))
    assert seen == {"model base": ""}
