"""Schedules of a cluster: set from a machine that goes, started once by however many schedulers, killed anywhere."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bucket_servers import S3Server
from tests.pipelines.far_cluster import Far, dying, experiment, put
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import open_bucket
from tidegate.infra.system.clock import FakeClock
from tidegate.pipelines.commands.schedules.beat import DEAD_S, KEY, write_beat
from tidegate.pipelines.commands.schedules.cluster_start import START
from tidegate.pipelines.commands.schedules.keeper import check_cluster_scheduler
from tidegate.pipelines.commands.schedules.managing import schedule
from tidegate.pipelines.commands.schedules.scheduler import Scheduler
from tidegate.pipelines.commands.schedules.start import begin_due
from tidegate.pipelines.driver.kept_plan import PLAN
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.scheduling.document import Start, update
from tidegate.pipelines.state.garbage_collection import needed_digests


def test_a_run_starts_though_the_machine_is_gone(far: Far, tmp_path: Path) -> None:
    said = put(far, experiment(tmp_path))
    assert "the code of this machine as it is now and a copy of this machine's data" in said
    assert "the cluster has no scheduler" in said and "kubectl apply -k" in said
    shutil.rmtree(far.home.path)
    (tmp_path / "rows.csv").unlink()
    far.owe()
    run = begin_due(far.pod(), "wine")
    assert far.entries == [("started", run)]
    (job,) = far.jobs.made
    assert job["metadata"]["name"] == f"driver-{run}"
    assert job["spec"]["template"]["spec"]["containers"][0]["image"].startswith("x/y/driver:")
    record = far.record(run)
    assert (record.status, record.cause.split()[:2]) == ("queued", ["wine", "hand"])
    assert record.by is not None and record.by.user.endswith("tidegate-scheduler")
    plan = far.store.read(f"runs/{run}/{PLAN}")
    assert plan is not None and b'"kept_files"' in plan[0]


def test_gc_keeps_what_a_schedule_needs(far: Far, tmp_path: Path) -> None:
    put(far, experiment(tmp_path))
    kept = far.state.cluster
    assert kept is not None
    digest = kept.facts["source"]["files"][0]["ref"]["digest"]
    assert digest in needed_digests(far.home)
    schedule(far.home, "delete", "wine")
    assert digest not in needed_digests(far.home)


@pytest.mark.parametrize("left", range(14))
def test_a_start_that_is_killed_anywhere_happens_once(far: Far, tmp_path: Path, left: int) -> None:
    """Before and after the writes of: the try, the plan, the run's name, its record, its Job, the end."""
    put(far, experiment(tmp_path))
    far.owe()
    with dying(far, left) as died:
        begin_due(far.pod(), "wine")
    assert died == ([True] if left < 12 else [])
    far.jobs.end() if left % 2 else None  # the driver may be quick
    begin_due(far.pod(), "wine")
    assert begin_due(far.pod(), "wine") == ""
    assert len(far.jobs.made) == 1
    ((outcome, run),) = far.entries
    assert outcome == "started"
    assert far.jobs.made[0]["metadata"]["annotations"][START] == far.record(run).cause


@pytest.mark.parametrize("ends", [False, True], ids=["the run goes on", "the run ends meanwhile"])
@pytest.mark.parametrize("left", range(13))
def test_two_schedulers_start_a_run_once(far: Far, tmp_path: Path, left: int, ends: bool) -> None:
    """One of them stands still at each moment, while the other does all."""
    put(far, experiment(tmp_path))
    far.owe()
    moments = iter(range(1000))

    def act() -> None:
        if next(moments) != left:
            return
        far.store.act = far.jobs.act = lambda: None
        begin_due(far.pod(), "wine")
        if ends:
            far.end(far.entries[0][1], "done")

    far.store.act = far.jobs.act = act
    with contextlib.suppress(ConflictError):  # after which it is tried again
        begin_due(far.pod(), "wine")
    far.store.act = far.jobs.act = lambda: None
    begin_due(far.pod(), "wine")
    assert len(far.jobs.made) == 1
    assert [outcome for outcome, _ in far.entries] == ["started"]


@pytest.mark.parametrize("died", [3, 5, 7, 9, 11, 99])
@pytest.mark.parametrize("left", range(1, 12, 2))
def test_data_that_changes_between_two_schedulers(
    far: Far, tmp_path: Path, s3: S3Server, left: int, died: int
) -> None:
    """One stands still after a write, and the other one, which would start another run, is killed after some."""
    bucket = open_bucket(f"s3://{s3.bucket}/{tmp_path.name}")
    bucket.upload(io.BytesIO(b"x,y\n1,2\n"), "rows.csv")
    put(far, experiment(tmp_path, data={"source": f"{bucket.url}/rows.csv", "target": "y"}))
    far.owe()
    moments = iter(range(1000))

    def act() -> None:
        if next(moments) == left:
            bucket.upload(io.BytesIO(b"x,y\n1,2\n3,4\n"), "rows.csv")
            with dying(far, died):
                begin_due(far.pod(), "wine")

    far.store.act = far.jobs.act = act
    with contextlib.suppress(ConflictError):  # after which it is tried again
        begin_due(far.pod(), "wine")
    far.store.act = far.jobs.act = lambda: None
    begin_due(far.pod(), "wine")
    assert len(far.jobs.made) == 1
    ((outcome, run),) = far.entries
    assert (outcome, far.jobs.made[0]["metadata"]["name"]) == ("started", f"driver-{run}")


def test_what_failed_before_is_begun_again(far: Far, tmp_path: Path) -> None:
    """The same run, as nothing has changed: the finished Job of the start before makes room."""
    put(far, experiment(tmp_path))
    far.owe()
    run = begin_due(far.pod(), "wine")
    far.end(run, "failed")
    far.owe("cron")
    assert begin_due(far.pod(), "wine") == run
    assert [outcome for outcome, _ in far.entries] == ["started", "started"]
    assert [job["metadata"]["annotations"][START].split()[1] for job in far.jobs.made] == ["hand", "cron"]
    far.owe("catch_up")  # its driver lives
    begin_due(far.pod(), "wine")
    assert far.entries[-1] == ("unchanged", run)
    assert len(far.jobs.made) == 2


def test_other_images_start_nothing_and_say_so(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(far, experiment(tmp_path))
    monkeypatch.setenv("TIDEGATE_IMAGE_TAG", "0.9-new")
    write_beat(far.store, time.time())
    (listed,) = schedule(far.home, "list").data
    assert "and the cluster's scheduler is of 0.9-new; expected the same" in listed["problem"]
    assert "set it again" not in put(far, experiment(tmp_path))  # by a machine of that version
    monkeypatch.setenv("TIDEGATE_IMAGE_TAG", "0.8-old")
    far.owe()
    assert begin_due(far.pod(), "wine") == ""
    (entry,) = far.state.recent
    assert entry.outcome == "failed" and "was set for images 0.9-new" in entry.reason
    assert far.state.outbox[-1].event == "schedule_missed"


def test_data_in_a_bucket_is_as_it_is_when_a_run_starts(far: Far, tmp_path: Path, s3: S3Server) -> None:
    bucket = open_bucket(f"s3://{s3.bucket}/{tmp_path.name}")
    bucket.upload(io.BytesIO(b"x,y\n1,2\n"), "rows.csv")
    source = f"{bucket.url}/rows.csv"
    found = experiment(tmp_path, data={"source": source, "target": "y"}, trigger={"new_data": "1m"})
    assert "the bucket's data as it is when they start" in put(far, found)
    runs = []
    for rows in (b"x,y\n1,2\n", b"x,y\n1,2\n3,4\n"):
        bucket.upload(io.BytesIO(rows), "rows.csv")
        far.owe()
        runs.append(begin_due(far.pod(), "wine"))
        far.jobs.end()
    assert len(set(runs)) == 2
    bucket.delete("rows.csv")
    far.owe()
    begin_due(far.pod(), "wine")
    assert far.state.recent[-1].outcome == "failed" and "there is nothing at" in far.state.recent[-1].reason


def test_what_no_pod_sees_is_no_trigger(far: Far, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"trigger.new_data: .*rows.csv is on this machine"):
        put(far, experiment(tmp_path, trigger={"new_data": "1m"}))


def test_the_scheduler_of_a_cluster_takes_the_same_turns(far: Far, tmp_path: Path) -> None:
    """Pause, overlap and the end of a run before are those of a machine's home."""
    put(far, experiment(tmp_path))
    pod, begun = far.pod(), list[str]()

    class Beginning:
        def start(self, name: str, start: Start) -> None:
            begun.append(start.id)
            begin_due(pod, name)

        def end(self, run: str) -> None: ...

    clock = FakeClock(far.state.handled)
    scheduler = Scheduler(pod, clock, Beginning())
    clock.jump(_next_three(clock.now()) + 1 - clock.now())
    update(far.store, "wine", lambda state: state.model_copy(update={"handled": clock.now() - 60}))
    scheduler.tick()
    assert len(begun) == 1
    ((_, run),) = far.entries
    schedule(far.home, "run", "wine")
    scheduler.tick()
    assert len(begun) == 1  # the run before is underway
    assert far.state.owed[0].queued
    far.end(run, "failed")
    schedule(far.home, "pause", "wine")
    scheduler.tick()
    assert len(begun) == 1
    schedule(far.home, "resume", "wine")
    schedule(far.home, "run", "wine")
    scheduler.tick()
    assert len(begun) == 2


def test_a_job_sends_what_a_schedule_tells(far: Far, tmp_path: Path) -> None:
    """It has the channel's secret, which the scheduler has not; one at a time, and again if it was not taken."""
    notify = [{"to": "webhook", "secret": "ops", "on": ["schedule_missed"]}]
    put(far, experiment(tmp_path, notify=notify))
    clock = FakeClock(time.time())
    update(far.store, "wine", lambda state: state.model_copy(update={"handled": clock.now() - 2 * 86400}))
    scheduler = Scheduler(far.pod(), clock, Noting())
    scheduler.tick()
    (job,) = far.jobs.made
    spec = job["spec"]["template"]["spec"]
    assert {"name": "secret-ops", "secret": {"secretName": "ops"}} in spec["volumes"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("tidegate-step", False)
    assert spec["containers"][0]["command"][-1] == "tidegate.pipelines.driver.tell"
    for age in (60, 2000, 2000):
        far.jobs.end()
        made = datetime.fromtimestamp(time.time() - age, UTC).isoformat()
        for one in far.jobs.there.values():
            one["metadata"]["creationTimestamp"] = made
        clock.jump(100)
        scheduler.tick()
    assert len(far.jobs.made) == 2
    for key in far.store.keys("notifications/"):
        far.store.delete(key)
    far.jobs.there.clear()
    clock.jump(100)
    scheduler.tick()
    assert len(far.jobs.made) == 2


class Noting:
    """Begins nothing."""

    def start(self, name: str, start: Start) -> None: ...

    def end(self, run: str) -> None: ...


def _next_three(now: float) -> float:
    return now - now % 86400 + 3 * 3600 + 86400


def test_a_scheduler_that_does_not_look_is_told(far: Far, tmp_path: Path) -> None:
    item = check_cluster_scheduler(far.home, far.jobs)
    assert item["ok"] and "no schedule needs it" in item["detail"]
    put(far, experiment(tmp_path))
    item = check_cluster_scheduler(far.home, far.jobs)
    assert not item["ok"] and "wine need it" in item["detail"]
    far.jobs.there["tidegate-scheduler"] = {}
    assert not check_cluster_scheduler(far.home, far.jobs)["ok"]
    write_beat(far.store, time.time())
    assert check_cluster_scheduler(far.home, far.jobs)["ok"]
    assert "scheduler" not in schedule(far.home, "list").text
    write_beat(far.store, time.time() - DEAD_S - 1)
    assert not check_cluster_scheduler(far.home, far.jobs)["ok"]
    assert "does not run" in schedule(far.home, "list").text
    assert "does not run" in schedule(far.home, "run", "wine").text
    far.store.delete(KEY)
    assert "has no scheduler" in schedule(far.home, "resume", "wine").text
