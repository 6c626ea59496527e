"""A Job that runs is followed with its own shards, and one is created only where none runs."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tidegate.infra.cluster.indexed_job import INDEX
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.commands.prediction.sharded import resources_of
from tidegate.pipelines.driver.kept_plan import PLAN as PLAN_OF_RUN
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.sharded_prediction.document import DONE, ShardDone, name_of
from tidegate.pipelines.sharded_prediction.document import PLAN as PLAN_FILE
from tidegate.pipelines.sharded_prediction.job import PodSize, job_name, job_of
from tidegate.pipelines.sharded_prediction.output import Ran, fail, progress
from tidegate.pipelines.sharded_prediction.place import FolderPlace
from tidegate.pipelines.sharded_prediction.remote import run_job
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror

from .test_job import DEFAULT, PLAN, RELEASE, TARGET

Object = dict[str, Any]
Objects = list[Object]


class Cluster:
    """Keeps Jobs and pods; `on_create` is called before one is created, `on_get` before one is read."""

    def __init__(
        self, on_create: Callable[[], None] = lambda: None, on_get: Callable[[], None] = lambda: None
    ) -> None:
        self.jobs: dict[str, Object] = {}
        self.pods: Objects = []
        self.created: Objects = []
        self._on_create, self._on_get = on_create, on_get

    def create(self, job: Object) -> None:
        """As the API server does."""
        self._on_create()
        name = job["metadata"]["name"]
        if name in self.jobs:
            raise AlreadyExistsError(name)
        self.jobs[name] = job
        self.created.append(job)

    def get(self, _kind: str, name: str) -> Object | None:
        """A Job."""
        found = self.jobs.get(name)
        self._on_get()
        return found

    def list(self, kind: str, labels: str = "", fields: str = "") -> Objects:
        """The pods; there are no events."""
        assert labels or fields
        return self.pods if kind == "Pod" else []

    def delete(self, _kind: str, name: str, uid: str = "") -> None:
        """A Job."""
        assert self.jobs.pop(name)["metadata"]["uid"] == uid


@pytest.fixture
def place(tmp_path: Path) -> FolderPlace:
    """An output with all done but shards 2, 5 and 8, of which 2 has failed."""
    place = FolderPlace(tmp_path / "out")
    place.create(PLAN_FILE, PLAN.content())
    for shard in (0, 1, 3, 4, 6, 7):
        place.create(PLAN.part(shard), b"1")
        done = ShardDone(shard=shard, part=PLAN.part(shard), sha256="", size=1, rows=1, ranges=())
        place.create(name_of(DONE, shard), done.content())
    fail(place, 2, "row 7 is wrong")
    return place


def job(place: FolderPlace, shards: list[int], ended: bool = False) -> Object:
    """A Job for these shards."""
    made = job_of(TARGET, RELEASE, PLAN, place.url, shards, PodSize(), DEFAULT)
    made["metadata"]["uid"] = "1"
    conditions = [{"type": "Failed", "status": "True", "reason": "FailedIndexes", "message": "some"}]
    return {**made, "status": {"conditions": conditions if ended else []}}


def run(cluster: Cluster, place: FolderPlace, detach: bool = True, size: PodSize | None = None) -> Ran:
    """As the command does."""
    home = cast(Home, SimpleNamespace(target=TARGET, cluster=cluster))
    return run_job(home, RELEASE, PLAN, place, size or PodSize(), DEFAULT, detach)


def test_a_job_that_runs_keeps_its_shards_and_what_they_have_said(
    place: FolderPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster()
    cluster.jobs[job_name(PLAN, place.url)] = job(place, [1, 2, 5, 8])  # 1 is done by now
    assert run(cluster, place, size=PodSize(cpu=2)) == Ran([1, 2, 5, 8], None)
    assert "it is followed, and keeps its own --cpu" in capsys.readouterr().err
    assert cluster.created == []
    assert progress(place).failed == {2}


def test_a_pods_end_is_told_of_its_shard_and_what_failed_before_is_told_too(
    place: FolderPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    name = job_name(PLAN, place.url)
    cluster = Cluster(on_get=lambda: cluster.jobs.update({name: job(place, [1, 2, 5, 8], ended=True)}))
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    status = {"phase": "Failed", "containerStatuses": [{"state": killed}]}
    cluster.pods = [{"metadata": {"name": "pod", "annotations": {INDEX: "2"}}, "spec": {}, "status": status}]
    cluster.jobs[name] = job(place, [1, 2, 5, 8])
    ran = run(cluster, place, detach=False)
    assert ran.failed is not None
    told = {failed.shard: failed.message for failed in ran.failed}
    assert list(told) == [2, 5, 8]
    assert told[2] == "row 7 is wrong"
    assert "was killed (OOMKilled" in told[5]
    assert "shard 5: it used more memory" in capsys.readouterr().err


def test_where_none_runs_one_is_made_for_what_is_left_and_failures_are_forgotten(place: FolderPlace) -> None:
    cluster, name = Cluster(), job_name(PLAN, place.url)
    cluster.jobs[name] = job(place, [1, 2, 5, 8], ended=True)
    assert run(cluster, place) == Ran([2, 5, 8], None)
    assert len(cluster.created) == 1
    assert progress(place).failed == frozenset()


def test_a_job_that_another_command_made_first_is_followed_with_its_shards(place: FolderPlace) -> None:
    name = job_name(PLAN, place.url)
    cluster = Cluster(on_create=lambda: cluster.jobs.update({name: job(place, [2, 8])}))
    assert run(cluster, place) == Ran([2, 8], None)
    assert cluster.created == []


def test_where_a_release_ran_is_of_its_run_and_told_when_nobody_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    assert resources_of(home, "digits-1") == Resources.model_validate({})
    assert "run digits-1 is not known here" in capsys.readouterr().err
    plan = {"experiment": {"resources": {"node_selector": {"disk": "ssd"}}}}
    home.store.write(Mirror(home, "digits-1").key(PLAN_OF_RUN), json.dumps(plan).encode(), None)
    assert resources_of(home, "digits-1").node_selector == {"disk": "ssd"}
    assert capsys.readouterr().err == ""
