"""A cluster that schedules are set for, of which only the store and the Jobs' objects are real."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from tidegate.infra.errors import AlreadyExistsError
from tidegate.infra.store import FolderStore
from tidegate.pipelines.commands.schedules.setting import set_schedule
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.scheduling import homes
from tidegate.pipelines.scheduling.document import ScheduleState, Start, require, update
from tidegate.pipelines.state.home import Home, RunRecord, Status, home_at
from tidegate.pipelines.state.targets import Target

Object = dict[str, Any]
TARGET = {"name": "far", "store": {"url": "s3://bucket/far"}, "mlflow": "http://127.0.0.1:1", "images": "x/y"}
CRON = {"cron": "0 3 * * *"}


class Killed(BaseException):
    """The process ends here."""


class Jobs:
    """The Jobs of a namespace, of which none runs; `act` is called before and after each is made or deleted,
    and `looked` before one is looked at."""

    def __init__(self) -> None:
        self.there: dict[str, Object] = {}
        self.made: list[Object] = []
        self.pods: list[Object] = []
        self.act: Callable[[], None] = lambda: None
        self.looked: Callable[[], None] = lambda: None
        self.namespace = "tidegate"

    def create(self, job: Object) -> Object:
        if "metadata" not in job:  # who am I
            return {"status": {"userInfo": {"username": "system:serviceaccount:tidegate:tidegate-scheduler"}}}
        self.act()
        name = job["metadata"]["name"]
        if name in self.there:
            raise AlreadyExistsError(name)
        self.there[name] = {**deepcopy(job), "status": {}}
        self.there[name]["metadata"]["uid"] = f"uid-{len(self.made)}"
        self.made.append(job)
        self.act()
        return job

    def get(self, kind: str, name: str) -> Object | None:
        del kind
        self.looked()
        return self.there.get(name)

    def list(self, kind: str, labels: str = "", fields: str = "") -> list[Object]:
        assert kind in ("Pod", "Event") and (labels or fields)
        return self.pods if kind == "Pod" else []

    def delete(self, kind: str, name: str, uid: str = "") -> bool:
        del kind
        self.act()
        if name not in self.there or uid not in ("", self.there[name]["metadata"]["uid"]):
            return False
        del self.there[name]
        self.act()
        return True

    def end(self) -> None:
        for job in self.there.values():
            job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}


class Watched(FolderStore):
    """A store that calls `act` before and after each write."""

    act: Callable[[], None] = staticmethod(lambda: None)

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        self.act()
        written = super().write(key, content, etag)
        self.act()
        return written


class Far:
    """A cluster, seen from a machine (`home`), and from the pods of its scheduler (`pod()`)."""

    def __init__(self, folder: Path) -> None:
        self.store, self.jobs = Watched(folder / "bucket"), Jobs()
        self.home = Home(folder / "laptop", Target.model_validate(TARGET))
        self._folder, self._pods = folder, 0

    def pod(self) -> Home:
        """The home of another pod."""
        self._pods += 1
        homes._home.cache_clear()  # each pod has its own
        return home_at(self._folder / f"pod-{self._pods}", pod=True)

    def owe(self, cause: str = "hand") -> None:
        """A start has begun."""
        now = time.time()
        start = Start.model_validate({"id": f"{cause} {now:.6f}", "cause": cause, "moment": now, "at": now})
        update(self.store, "wine", lambda state: state.model_copy(update={"begun": start}))

    @property
    def state(self) -> ScheduleState:
        return require(self.store, "wine")

    @property
    def entries(self) -> list[tuple[str, str]]:
        return [(entry.outcome, entry.run) for entry in self.state.recent]

    def end(self, run: str, status: Status) -> None:
        """The run's driver has ended."""
        self.jobs.end()
        self._write(run, status, "")

    def fail(self, run: str, reason: str = "") -> None:
        """The run has failed, and its driver still ends."""
        self._write(run, "failed", reason)

    def _write(self, run: str, status: Status, reason: str) -> None:
        changes = {"status": status, "reason": reason, "finished": time.time()}
        ended = self.record(run).model_copy(update=changes)
        found = self.store.read(f"records/{run}.json")
        self.store.write(f"records/{run}.json", ended.model_dump_json().encode(), found and found[1])

    def record(self, run: str) -> RunRecord:
        found = self.store.read(f"records/{run}.json")
        assert found is not None
        return RunRecord.model_validate_json(found[0])


class dying:
    """The process is killed at the moment number `left`."""

    def __init__(self, far: Far, left: int) -> None:
        self._far, self._left, self._died = far, left, list[bool]()

    def __enter__(self) -> list[bool]:
        self._far.store.act = self._far.jobs.act = self._act
        return self._died

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._far.store.act = self._far.jobs.act = lambda: None
        return kind is Killed

    def _act(self) -> None:
        self._left -= 1
        if self._left == -1:
            self._died.append(True)
            raise Killed


def experiment(folder: Path, **more: Any) -> Experiment:
    (folder / "rows.csv").write_text("x,y\n" + "1,2\n3,4\n" * 20)
    document = {"name": "wine", "data": {"source": "rows.csv", "target": "y"}, "model": {"family": "linear"}}
    return validate(document | {"schedule": CRON} | more, "here").resolved(folder)


def waiting_pod() -> Object:
    """A pod whose image cannot be had."""
    state = {"waiting": {"reason": "InvalidImageName", "message": "no such image"}}
    container = {"name": "step", "state": state}
    return {"metadata": {"name": "pod"}, "status": {"phase": "Pending", "containerStatuses": [container]}}


def put(far: Far, found: Experiment) -> str:
    return set_schedule(far.home, found, detach=False, executor="local").text
