"""The home folder: where runs, the store, the spool and the servers of a target live.

For a cluster it is a copy: the runs live in the cluster's store, and are copied here to be read.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from tidegate.infra.store import Store, open_store
from tidegate.infra.system.files import write_atomic
from tidegate.infra.system.locks import is_held
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.state.approvals import TOO_LATE, find_request
from tidegate.pipelines.state.targets import IN_POD, Target, find_target, target_in_pod
from tidegate.serving.deployment.event import Actor

if TYPE_CHECKING:
    from tidegate.infra.cluster.api import Cluster

Status = Literal["queued", "running", "waiting", "done", "failed", "refused", "cancelled"]
RUNNING: tuple[Status, ...] = ("queued", "running")
UNDERWAY: tuple[Status, ...] = (*RUNNING, "waiting")  # a run that waits for people has no process
StepStatus = Literal["queued", "running", "done", "cached", "failed", "cancelled"]
TRACKING = "MLFLOW_TRACKING_URI"
PARTS = ("runs", "spool", "processes", "bundles", "endpoints")  # what every home has


class StepRecord(BaseModel):
    """The state of one step of a run."""

    model_config = ConfigDict(defer_build=True, frozen=True)
    id: str
    step: str
    status: StepStatus
    seconds: float = 0.0
    key: str = ""


class RunRecord(BaseModel):
    """The state of a run; only its driver writes it, always as a whole.

    Attributes:
        cause: the start of a schedule that it is; "" where a person submitted it.
        asked: since when it waits for an approval, seconds since the epoch.
        until: until when it does; None: for ever.
        by: who asked for it last.
        message: the reason that they gave.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)
    run: str
    name: str
    endpoint: str
    status: Status
    created: float
    finished: float | None = None
    reason: str = ""
    commit: str = ""
    by: Actor | None = None
    message: str = ""
    champion: str | None = None
    synced: bool = False
    cause: str = ""
    asked: float | None = None
    until: float | None = None
    steps: list[StepRecord] = []
    experiment: dict[str, Any]


class RunFolder:
    """The folder of one run: record, calls, logs, errors and temporary files."""

    def __init__(
        self,
        path: Path,
        alive: Callable[[], bool] | None = None,
        decided: Callable[[], bool] = lambda: False,
    ) -> None:
        """Point at the folder; nothing is created.

        Args:
            path: the folder, named as the run.
            alive: whether the run's driver is alive; by default, whether a process holds its lock.
            decided: whether people said in time what becomes of a run that waits for them.
        """
        self.path = path
        self.run = path.name
        self.lock = path / "driver.lock"
        self._alive = alive or (lambda: is_held(self.lock))
        self._decided = decided

    def create(self) -> None:
        """Make the folder and its parts."""
        for part in ("calls", "logs", "errors", "work", "progress"):
            (self.path / part).mkdir(parents=True, exist_ok=True)

    def log(self, step_id: str) -> Path:
        """The log file of a step."""
        return self.path / "logs" / f"{step_id}.log"

    def error(self, step_id: str) -> Path:
        """Where a failed step leaves its message and traceback."""
        return self.path / "errors" / f"{step_id}.json"

    def call(self, step_id: str) -> Path:
        """Where the driver leaves a step's inputs."""
        return self.path / "calls" / f"{step_id}.json"

    def read(self) -> RunRecord:
        """The record; a run whose driver died is reported as failed, never as running.

        One that waited for an approval until it was too late is refused: nothing has to run for that.
        """
        record = self.record()
        over = record.status == "waiting" and record.until is not None and time.time() >= record.until
        if over and not self._decided():
            return record.model_copy(
                update={"status": "refused", "reason": TOO_LATE, "finished": record.until}
            )
        if record.status in RUNNING and not self._just_created(record) and not self._alive():
            reason = f"its driver ended before the run did; `tidegate resume {self.run}` continues it"
            return record.model_copy(update={"status": "failed", "reason": reason})
        return record

    def record(self) -> RunRecord:
        """The record as it was written, whether its driver lives or not."""
        return RunRecord.model_validate_json((self.path / "run.json").read_bytes())

    def write(self, record: RunRecord) -> None:
        """Replace the record atomically."""
        write_atomic(self.path / "run.json", record.model_dump_json(indent=1).encode())

    @staticmethod
    def _just_created(record: RunRecord) -> bool:
        """After a detached submit, it takes a moment until the driver holds the lock."""
        return record.status == "queued" and time.time() - record.created < 30


def is_home(path: Path) -> bool:
    """Whether a folder is a home already; nothing is written."""
    return all((path / part).is_dir() for part in PARTS)


class Home:
    """All of one target's state that is on this machine, under one folder."""

    def __init__(self, path: Path, target: Target | None = None) -> None:
        """Resolve the folder and make sure that it can be written.

        Args:
            path: the folder.
            target: the cluster it belongs to; None: the local target.

        Raises:
            UsageError: the folder cannot be created or written.
        """
        self.path = path.resolve()
        self.target = target
        folders = [self.path / part for part in PARTS]
        self.runs_path, self.spool, self.processes, self.bundles, self.endpoints = folders
        self.compiled = self.path / "compiled"  # by JAX, for the next process
        self._create()

    @cached_property
    def store(self) -> Store:
        """Where artifacts are kept: a folder here, or the target's object store."""
        if self.target is None:
            return open_store(self.path / "store")
        address = self.target.store
        return open_store(address.url, endpoint=address.endpoint, cache=self.path / "cache")

    def endpoint_of(self, url: str) -> str | None:
        """The server of a bucket: the target's for one in the same cloud; None: as the cloud's library finds it."""
        same = self.target is not None and self.target.store.scheme == url.partition("://")[0]
        return self.target.store.endpoint if self.target and same else None

    @cached_property
    def cluster(self) -> "Cluster":
        """The target's namespace.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        from tidegate.infra.cluster.api import Cluster

        assert self.target is not None, "the local target has no cluster"
        return Cluster(self.target.context, self.target.namespace)

    def _create(self) -> None:
        try:
            for part in PARTS:
                (self.path / part).mkdir(parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise UsageError(
                f"home {self.path} cannot be written: {error.strerror}; "
                "choose another with --home DIR or $TIDEGATE_HOME, or change its permissions"
            ) from error

    def folder_of(self, run: str) -> RunFolder:
        """The folder of a run, whether there is such a run or not."""
        alive = (lambda: self._driver_is_alive(run)) if self.target else None
        return RunFolder(self.runs_path / run, alive, lambda: self._is_decided(run))

    def _is_decided(self, run: str) -> bool:
        """Whether people have said in time what becomes of a run, though nobody has gone on with it yet."""
        request = find_request(self.store, run)
        return request is not None and request.verdict(time.time()) != "late"

    def _driver_is_alive(self, run: str) -> bool:
        """Whether a run's driver lives in the cluster; a driver itself knows that it does."""
        from tidegate.infra.cluster.jobs import driver_name, is_finished

        if os.environ.get("TIDEGATE_RUN") == run:
            return True
        job = self.cluster.get("Job", driver_name(run))
        return job is not None and not is_finished(job)

    def run_folder(self, run: str) -> RunFolder:
        """The folder of a known run.

        Raises:
            UnknownNameError: no such run, with the nearest known one.
        """
        folder = self.folder_of(run)
        if "/" in run or not (folder.path / "run.json").is_file():
            known = [known.run for known in self.run_folders()]
            raise UnknownNameError("run", run, known, "`tidegate runs` lists them")
        return folder

    def newest_run(self, name: str) -> RunFolder:
        """The folder of a run by its id, or of an experiment's newest run by its name; a run's id takes precedence.

        Raises:
            UnknownNameError: no such run or experiment, with the nearest known run.
        """
        if "/" not in name and (self.folder_of(name).path / "run.json").is_file():
            return self.folder_of(name)
        of_name = (folder for folder in self.run_folders() if folder.read().name == name)
        return next(of_name, None) or self.run_folder(name)

    def run_folders(self) -> list[RunFolder]:
        """Every run's folder, newest first."""
        found = [self.folder_of(path.parent.name) for path in self.runs_path.glob("*/run.json")]
        return sorted(found, key=lambda folder: folder.read().created, reverse=True)


def open_home(path: str | Path | None = None, target: str = "local") -> Home:
    """The home that a command line or a call names.

    Args:
        path: its folder; None: `$TIDEGATE_HOME`, else `.tidegate` in the current folder.
        target: `local`, or a name in targets.yaml.

    Raises:
        UsageError, UnknownNameError: the folder cannot be written; no such target.
    """
    folder = Path(path or os.environ.get("TIDEGATE_HOME") or ".tidegate")
    found = find_target(folder, target)
    return Home(folder if found is None else folder / "targets" / found.name, found)


@contextlib.contextmanager
def mlflow_of(home: Home) -> Iterator[Home]:
    """For the time of a call, a target's own MLflow is the one that `$MLFLOW_TRACKING_URI` names."""
    if home.target is None:
        yield home
        return
    before = os.environ.get(TRACKING)
    os.environ[TRACKING] = home.target.mlflow
    try:
        yield home
    finally:
        os.environ.pop(TRACKING, None)
        if before is not None:
            os.environ[TRACKING] = before


def home_at(path: Path, pod: bool = False) -> Home:
    """The home of a process that a driver started; in a pod its target is in the environment.

    Args:
        path: the home's folder.
        pod: whether this is a pod; when False, it is still one where a driver left its target.
    """
    return Home(path, target_in_pod() if pod or IN_POD in os.environ else None)
