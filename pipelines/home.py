"""The home folder: where runs, the store, the spool and the servers of the local target live."""

import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from infra.files import write_atomic
from infra.locks import held
from infra.store import FolderStore
from pipelines.errors import UnknownNameError, UsageError

Status = Literal["queued", "running", "done", "failed", "refused", "cancelled"]
StepStatus = Literal["queued", "running", "done", "cached", "failed", "cancelled"]


class StepRecord(BaseModel):
    """How one step of a run stands."""

    model_config = ConfigDict(frozen=True)
    id: str
    step: str
    status: StepStatus
    seconds: float = 0.0
    key: str = ""


class RunRecord(BaseModel):
    """What is remembered of a run; rewritten whole, by its driver only."""

    model_config = ConfigDict(frozen=True)
    run: str
    name: str
    endpoint: str
    status: Status
    created: float
    finished: float | None = None
    reason: str = ""
    commit: str = ""
    champion: str | None = None
    synced: bool = False
    steps: list[StepRecord] = []
    experiment: dict[str, Any]


class RunFolder:
    """The folder of one run: record, calls, logs, errors and temporary files."""

    def __init__(self, path: Path) -> None:
        """Point at the folder; nothing is created."""
        self.path = path
        self.run = path.name
        self.lock = path / "driver.lock"

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
        """The record; a run whose driver died is told as failed, never as running."""
        record = RunRecord.model_validate_json((self.path / "run.json").read_bytes())
        if record.status in ("queued", "running") and not held(self.lock) and not self._just_created(record):
            reason = f"its driver ended before the run did; `tidegate resume {self.run}` goes on"
            return record.model_copy(update={"status": "failed", "reason": reason})
        return record

    def write(self, record: RunRecord) -> None:
        """Replace the record atomically."""
        write_atomic(self.path / "run.json", record.model_dump_json(indent=1).encode())

    @staticmethod
    def _just_created(record: RunRecord) -> bool:
        """Between a detached submit and its driver's lock lies a moment in which nobody holds it."""
        return record.status == "queued" and time.time() - record.created < 30


class Home:
    """All of the local target's state, under one folder."""

    def __init__(self, path: Path) -> None:
        """Resolve the folder and make sure that it can be written.

        Raises:
            UsageError: the folder can not be created or written.
        """
        self.target: Any = None
        self.path = path.resolve()
        self.runs_path = self.path / "runs"
        self.spool = self.path / "spool"
        self.processes = self.path / "processes"
        self.bundles = self.path / "bundles"
        self.endpoints = self.path / "endpoints"
        self._create()
        self.store = FolderStore(self.path / "store")

    def _create(self) -> None:
        try:
            for folder in (self.runs_path, self.spool, self.processes, self.bundles, self.endpoints):
                folder.mkdir(parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise UsageError(
                f"home {self.path} can not be written: {error.strerror}; "
                "choose another with --home DIR or $TIDEGATE_HOME, or change its permissions"
            ) from error

    def run_folder(self, run: str) -> RunFolder:
        """The folder of a known run.

        Raises:
            UnknownNameError: no such run, with the nearest known one.
        """
        folder = RunFolder(self.runs_path / run)
        if "/" in run or not (folder.path / "run.json").is_file():
            known = [known.run for known in self.run_folders()]
            raise UnknownNameError("run", run, known, "`tidegate runs` lists them")
        return folder

    def run_if_known(self, run: str) -> RunRecord | None:
        """The record of a run that may be a new one."""
        folder = RunFolder(self.runs_path / run)
        return folder.read() if (folder.path / "run.json").is_file() else None

    def run_folders(self) -> list[RunFolder]:
        """Every run's folder, newest first."""
        found = [RunFolder(path.parent) for path in self.runs_path.glob("*/run.json")]
        return sorted(found, key=lambda folder: folder.read().created, reverse=True)


def read_json(path: Path) -> Any:
    """A JSON document, or None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
