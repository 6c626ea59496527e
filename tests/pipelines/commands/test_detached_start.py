"""A start of a schedule is not lost, whatever changes or is killed while its driver starts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.pipelines.commands import submit
from tidegate.pipelines.commands.submit import begin_detached, resume
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.tags import with_tags
from tidegate.pipelines.scheduling.again import owe_again
from tidegate.pipelines.scheduling.document import Entry, ScheduleState, change, require
from tidegate.pipelines.scheduling.times import MOST_TRIES
from tidegate.pipelines.state.home import Home

MOMENT = 1_780_000_000.123456


def cause(kind: str = "cron") -> str:
    return f"wine {kind} {datetime.fromtimestamp(MOMENT, UTC).isoformat()}"


def planned(home: Home, folder: Path) -> Plan:
    (folder / "rows.csv").write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(40)))
    document = {"name": "wine", "data": {"source": "rows.csv", "target": "y"}, "model": {"family": "linear"}}
    experiment = validate(document, "here").resolved(folder)
    state = ScheduleState(
        name="wine", experiment=experiment.model_dump(mode="json"), created=MOMENT, handled=MOMENT
    )
    change(home.store, "wine", lambda _: state)
    return make_plan(experiment, with_tags(gather(experiment, home)))


class Killed(BaseException):
    """The process ends here."""


def killed(*_: object) -> None:
    raise Killed


def test_a_start_whose_data_changes_meanwhile_is_owed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    plan = planned(home, tmp_path)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(submit, "_detach", killed)  # no driver of its own: it is this process, below
        begin_detached(home, plan, cause())
    folder = home.run_folder(plan.run)
    assert (folder.record().status, folder.record().cause) == ("queued", cause())
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(60)))
    for _ in range(2):  # the second one is of somebody who tries to resume it
        with pytest.raises(UsageError, match="cannot be resumed: its data"):
            resume(home, plan.run)
        ended = folder.read()
        assert (ended.status, ended.finished is not None) == ("failed", True)
        assert ended.reason.startswith("it never began: ")
        (owed,) = require(home.store, "wine").owed
        assert (owed.cause, owed.queued) == ("cron", True)
        assert owed.moment == pytest.approx(MOMENT, abs=0.001)


def test_a_start_is_not_owed_again_for_ever(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    planned(home, tmp_path)
    entry = Entry(cause="cron", moment=MOMENT, outcome="started", run="wine-1")

    def tried(state: ScheduleState | None) -> ScheduleState:
        assert state is not None
        return state.model_copy(update={"recent": (entry,) * MOST_TRIES})

    change(home.store, "wine", tried)
    owe_again(home.store, cause(), "its data has changed", time.time())
    state = require(home.store, "wine")
    assert state.owed == ()
    assert (state.recent[-1].outcome, state.recent[-1].reason) == ("failed", "its data has changed")
    owe_again(home.store, cause("hand").replace("wine", "gone"), "why", time.time())  # deleted meanwhile
