"""A run that is started again while the Job of its driver before is still there."""

import contextlib
from pathlib import Path

import pytest

from tests.pipelines.far_cluster import Far, experiment, put
from tidegate.infra.errors import ConflictError
from tidegate.pipelines.commands.schedules.cluster_start import START
from tidegate.pipelines.commands.schedules.start import begin_due
from tidegate.pipelines.scheduling.times import MOST_TRIES


def test_a_driver_that_still_ends_is_waited_for(far: Far, tmp_path: Path) -> None:
    """Its record says failed already, and it writes it once more before its Job is finished."""
    put(far, experiment(tmp_path))
    far.owe()
    run = begin_due(far.pod(), "wine")
    far.fail(run)
    failed = far.record(run)
    far.owe("cron")
    for _ in range(2 * MOST_TRIES):
        assert begin_due(far.pod(), "wine") == ""
    assert far.record(run) == failed
    assert far.state.begun is not None and far.state.begun.tries == 0
    far.jobs.end()
    assert begin_due(far.pod(), "wine") == run
    assert [outcome for outcome, _ in far.entries] == ["started", "started"]
    assert (len(far.jobs.made), far.record(run).status) == (2, "queued")


@pytest.mark.parametrize("left", range(14))
def test_two_schedulers_replace_a_finished_job_once(far: Far, tmp_path: Path, left: int) -> None:
    """Both have seen the Job of the start before: the second one deletes it, and not the Job that took its place."""
    put(far, experiment(tmp_path))
    far.owe()
    run = begin_due(far.pod(), "wine")
    far.end(run, "failed")
    far.owe("cron")
    moments = iter(range(1000))

    def act() -> None:
        if next(moments) == left:
            far.store.act = far.jobs.act = lambda: None
            begin_due(far.pod(), "wine")

    far.store.act = far.jobs.act = act
    with contextlib.suppress(ConflictError):  # after which it is tried again
        begin_due(far.pod(), "wine")
    far.store.act = far.jobs.act = lambda: None
    begin_due(far.pod(), "wine")
    assert len(far.jobs.made) == 2
    assert far.jobs.there[f"driver-{run}"]["metadata"]["annotations"][START].split()[1] == "cron"
    assert far.entries == [("started", run)] * 2


def test_a_run_that_was_deleted_is_trained_again(far: Far, tmp_path: Path) -> None:
    """The scheduler's pod has read its record before: that copy does not count."""
    put(far, experiment(tmp_path))
    pod = far.pod()
    far.owe()
    run = begin_due(pod, "wine")
    far.end(run, "done")
    far.owe("cron")
    begin_due(pod, "wine")
    assert far.entries[-1] == ("unchanged", run)
    for key in (f"records/{run}.json", *far.store.keys(f"runs/{run}/")):
        far.store.delete(key)
    far.jobs.delete("Job", f"driver-{run}")
    far.owe("catch_up")
    assert begin_due(pod, "wine") == run
    assert far.entries[-1] == ("started", run)
    assert len(far.jobs.made) == 2
