"""A submit to a cluster, where the driver of the run's attempt before is still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.far_cluster import Far, experiment, waiting_pod
from tidegate.pipelines.commands import submit_remote
from tidegate.pipelines.commands.submit import new_record
from tidegate.pipelines.commands.submit_remote import follow, resume, submit
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.executors import following
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.tags import with_tags


@pytest.fixture
def plan(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Of a run that has failed, and whose driver still ends."""
    monkeypatch.setattr(submit_remote, "POLL_S", 0.01)
    found = experiment(tmp_path)
    plan = make_plan(found, with_tags(gather(found, far.home)))
    submit(far.home, plan, new_record(plan), "", detach=True)
    far.fail(plan.run)
    return plan


def test_a_driver_that_still_ends_is_waited_for(far: Far, plan: Plan) -> None:
    """Its last words are written before the new driver is made, so they do not undo that a driver waits."""
    asked = iter(range(1000))

    def looked() -> None:
        if next(asked) == 3:
            far.fail(plan.run, "its last words")
            far.jobs.end()

    far.jobs.looked = looked
    assert submit(far.home, plan, new_record(plan), "again", detach=True).data["status"] == "queued"
    assert next(asked) > 3 and len(far.jobs.made) == 2
    assert (far.record(plan.run).status, far.record(plan.run).message) == ("queued", "again")


def test_a_driver_that_does_not_end_is_told(far: Far, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_remote, "CANCEL_S", 0.05)
    before = far.record(plan.run)
    for again in (
        lambda: submit(far.home, plan, new_record(plan), "again", detach=True),
        lambda: resume(far.home, plan.run, "again", detach=True),
    ):
        with pytest.raises(UsageError, match="still ends; expected none; try again in a minute"):
            again()
    assert len(far.jobs.made) == 1
    assert far.record(plan.run) == before


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("POLL_S", 0.01), ("CHECK_S", 0.05), ("PERMANENT_S", 0.0)):
        monkeypatch.setattr(following, name, seconds)


@pytest.mark.usefixtures("quick")
def test_a_driver_that_ended_without_a_word(far: Far, plan: Plan) -> None:
    far.jobs.there.clear()
    with pytest.raises(PipelineError, match="ended before the run did: its Job failed or was deleted"):
        follow(far.home, plan.run)
    assert far.record(plan.run).status == "failed"


@pytest.mark.usefixtures("quick")
def test_a_driver_whose_pod_does_not_start(far: Far, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    far.jobs.pods.append(waiting_pod())
    with pytest.raises(PipelineError, match=r"could not start: .*; `tidegate resume .*` continues it"):
        follow(far.home, plan.run)
    assert capsys.readouterr().err.startswith("the driver waits: ") and far.jobs.there == {}
    assert far.record(plan.run).reason.startswith(f"the driver of run {plan.run} could not start")


@pytest.mark.parametrize("left", range(12))
def test_two_submits_make_one_driver(far: Far, plan: Plan, left: int) -> None:
    """One stands still at each moment, while the other one does all."""
    far.jobs.end()
    moments = iter(range(1000))

    def act() -> None:
        if next(moments) == left:
            far.store.act = far.jobs.act = far.jobs.looked = lambda: None
            submit(far.home, plan, new_record(plan), "the other", detach=True)

    far.store.act = far.jobs.act = far.jobs.looked = act
    assert submit(far.home, plan, new_record(plan), "again", detach=True).data["status"] == "queued"
    assert next(moments) > left
    assert len(far.jobs.made) == 2
    assert far.record(plan.run).status == "queued"
