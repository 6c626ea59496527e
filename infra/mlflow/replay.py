"""Replays a run's spools into MLflow. It is resumable and idempotent, and retries while MLflow is down.

Next to each spool is `<name>.sync.json`: the MLflow run, and the offset up to which events were sent. It is written
after MLflow has responded, so after a kill some events are sent twice. All MLflow writes used here may be repeated,
except creations; before a creation, the object is searched for by its tag.
"""

import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import events, failures, spool
from tidegate.infra.mlflow.spool import Event
from tidegate.infra.mlflow.tracking import GoneError, Tracker
from tidegate.infra.system.files import translate_os_errors, write_atomic

MAX_EVENTS = 2000  # events sent before the state is written
Fetch = Callable[[Any], Path]  # a store reference from an event -> a local file
Render = Callable[[Any], Iterable[tuple[str, bytes]]]  # a report's reference -> pictures: file name, content


class State(BaseModel):
    """How much of one spool was sent, to which server, as which MLflow run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    experiment_id: str
    run_id: str
    offset: int = 0
    ended: bool = False


class Progress(BaseModel):
    """The result of a replay: `sent` of `size` bytes, why it is not synced (`problem`), what MLflow `refused`."""

    model_config = ConfigDict(frozen=True)

    synced: bool
    sent: int
    size: int
    problem: str = ""
    refused: tuple[str, ...] = ()


def _state_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.sync.json"


def _load(folder: Path, name: str) -> State | None:
    path = _state_path(folder, name)
    with translate_os_errors(TrackingError, path, "Reading"):
        try:
            return State.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):  # a state of another version is ignored
            return None


def state(folder: Path) -> dict[str, dict[str, Any]]:
    """Return run_id, experiment_id and synced of each spool that MLflow knows; reads local files only."""
    found = ((name, _load(folder, name)) for name in spool.names(folder))
    return {
        name: {
            "run_id": one.run_id,
            "experiment_id": one.experiment_id,
            "synced": one.offset == spool.path_of(folder, name).stat().st_size,
        }
        for name, one in found
        if one
    }


def progress(folder: Path, problem: str = "", refused: Iterable[str] = ()) -> Progress:
    """Return how many bytes of a run's spools were sent to MLflow."""
    sizes = {name: spool.path_of(folder, name).stat().st_size for name in spool.names(folder)}
    sent = {name: one.offset if (one := _load(folder, name)) else 0 for name in sizes}
    return Progress(
        synced=sent == sizes,
        sent=sum(sent.values()),
        size=sum(sizes.values()),
        problem=problem,
        refused=tuple(refused),
    )


def forget(folder: Path) -> None:
    """Delete the states, so that everything is sent again; use it when MLflow's database was lost."""
    for name in spool.names(folder):
        _state_path(folder, name).unlink(missing_ok=True)


class Replay:
    """The replay of one run: the parent `run.jsonl` first, then the trials."""

    def __init__(self, folder: Path, tracker: Tracker, fetch: Fetch, render: Render) -> None:
        """Args: the run's spool folder, whose name is the run's id; the server; how to get files and pictures."""
        self.folder = folder
        self.run = folder.name
        self.tracker = tracker
        self.fetch = fetch
        self.render = render
        self.refused: list[str] = []
        self._found: dict[str, list[str]] | None = None
        self._sent: dict[str, int] = {}  # sizes of spools that were sent whole

    def step(self) -> bool:
        """Send new events to MLflow; return whether there were any. Raises MLflow's own errors; call it again then."""
        try:
            sent = [self._send_next(name, size) for name, size in self._grown()]
        except GoneError:
            forget(self.folder)
            self._found, self._sent = None, {}
            raise
        except Exception:
            self._found = None  # a creation may have been done, and its response lost
            raise
        return any(sent)

    def _grown(self) -> list[tuple[str, int]]:
        """The spools that are larger than what was sent of them, and their sizes: of thousands, few are written."""
        sizes = spool.sizes(self.folder)
        return [(name, size) for name, size in sizes.items() if self._sent.get(name) != size]

    def _send_next(self, name: str, size: int) -> bool:
        known = self._known(name)
        if name != spool.PARENT and not known and not self._known(spool.PARENT):
            return False  # a child is sent after its parent
        offset = known.offset if known else 0
        new = list(islice(spool.read(spool.path_of(self.folder, name), offset), MAX_EVENTS))
        if not new:
            if offset == size:
                self._sent[name] = size
            return False
        known = known or self._find_or_create_run(name, new[0][0])
        batch = events.gather(event for event, _ in new)
        self._send(name, known, batch)
        if batch.end:
            self._delete_duplicates(name, known)
        ended = bool(batch.end) or (known.ended and not batch.reopened)
        self._save(name, known.model_copy(update={"offset": new[-1][1], "ended": ended}))
        return True

    def _known(self, name: str) -> State | None:
        known = _load(self.folder, name)
        return known if known and known.uri == self.tracker.uri else None

    def _find_or_create_run(self, name: str, event: Event) -> State:
        """Find the spool's MLflow run, or create it."""
        if event["kind"] != "run":
            raise TrackingError(
                f"{spool.path_of(self.folder, name)} is damaged: its first event is {event['kind']!r}; "
                "expected 'run'; delete the file and resume the run"
            )
        parent = self._known(spool.PARENT)
        experiment_id = parent.experiment_id if parent else self.tracker.experiment(str(event["experiment"]))
        if self._found is None:
            self._found = self.tracker.runs(experiment_id, self.run)
        found = self._found.get(name)
        parent_id = parent.run_id if parent else None
        run_id = found[0] if found else self.tracker.create(experiment_id, self.run, name, event, parent_id)
        known = State(uri=self.tracker.uri, experiment_id=experiment_id, run_id=run_id)
        self._save(name, known)
        return known

    def _save(self, name: str, known: State) -> None:
        path = _state_path(self.folder, name)
        with translate_os_errors(TrackingError, path, "Writing"):
            write_atomic(path, known.model_dump_json().encode())

    def _send(self, name: str, known: State, batch: events.Batch) -> None:
        run_id = known.run_id
        self._try(run_id, "values", lambda: self.tracker.log(run_id, batch))
        if known.ended and batch.reopened:
            self._try(run_id, "status", lambda: self.tracker.set_status(run_id, None))
        if batch.datasets:
            self._try(run_id, "datasets", lambda: self.tracker.log_datasets(run_id, batch.datasets))
        with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
            if batch.artifacts:
                self._files(run_id, batch.artifacts, Path(scratch) / "artifacts")
            for number, event in enumerate(batch.models):
                self._model(name, known, event, Path(scratch) / f"model-{number}")
            for number, event in enumerate(batch.files_of_children):
                self._file_of_child(event, Path(scratch) / f"child-{number}")
        for child, tags in batch.of_children.items():
            self._tag_child(child, tags)
        if batch.end:
            self._try(run_id, "end", lambda: self.tracker.set_status(run_id, batch.end))

    def _tag_child(self, name: str, tags: dict[str, str]) -> None:
        """Log what the parent says of a child; a child that was not sent yet is created now, its events follow."""
        known = self._child(name)
        if known is not None:
            run_id = known.run_id
            self._try(run_id, f"tags of {name}", lambda: self.tracker.log(run_id, events.Batch(tags=tags)))

    def _child(self, name: str) -> State | None:
        first = next(spool.read(spool.path_of(self.folder, name)), None)
        return None if first is None else self._known(name) or self._find_or_create_run(name, first[0])

    def _file_of_child(self, event: Event, folder: Path) -> None:
        """Log the figures of a child that the parent has, or the child's model again, with its ONNX file."""
        name = event["child"]
        known = self._child(name)
        if known is not None and event["kind"] == "figures":
            self._files(known.run_id, [event], folder)
        elif known is not None:
            of_child = [one for one in spool.events(self.folder, name) if one["kind"] == "model"]
            for own in of_child[-1:]:
                self._model(name, known, own | {"onnx": event["onnx"], "again": True}, folder)

    def _files(self, run_id: str, files: list[Event], folder: Path) -> None:
        folder.mkdir()
        for event in files:
            self._try(run_id, event["id"], partial(self._stage, event, folder))
        self._try(run_id, "files", lambda: self.tracker.upload(run_id, folder))

    def _stage(self, event: Event, folder: Path) -> None:
        if event["kind"] == "artifact":
            path = folder / event["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(self.fetch(event["ref"]).absolute())
            return
        try:
            pictures = list(self.render(event["ref"]))
        except Exception as error:
            raise TrackingError(f"the figures cannot be drawn: {error}") from error
        (folder / "figures").mkdir(exist_ok=True)
        for name, content in pictures:
            (folder / "figures" / name).write_bytes(content)

    def _model(self, name: str, known: State, event: Event, folder: Path) -> None:
        all_events = spool.events(self.folder, name)
        summary = events.gather(all_events)
        summary.points = events.last_points(all_events)

        def log() -> None:
            onnx = event.get("onnx")
            source = {
                "event": event,
                "keras": self.fetch(event["ref"]) if event["ref"] else None,
                "onnx": self.fetch(onnx) if onnx else None,
                "contract": {name: self.fetch(ref) for name, ref in event.get("contract", {}).items()},
            }
            self.tracker.log_model(known.experiment_id, known.run_id, self.run, folder, source, summary)

        self._try(known.run_id, event["id"], log)

    def _try(self, run_id: str, what: str, send: Callable[[], None]) -> None:
        """Send, and note a permanent refusal or a lost file of ours, so that the rest is still sent.

        Raises:
            GoneError: the MLflow run was deleted; what was sent to it has to be sent again.
        """
        try:
            send()
        except Exception as error:
            if failures.code(error) == "RESOURCE_DOES_NOT_EXIST":
                raise GoneError(str(error)) from error
            if failures.code(error) == "INVALID_PARAMETER_VALUE" and self.tracker.restore(run_id):
                raise GoneError(f"run {run_id} was deleted in MLflow and is restored") from error
            if failures.is_transient(error):
                raise
            refused = f"{what}: {error}"
            if refused not in self.refused:  # the same events may be sent again
                self.refused.append(refused)

    def _delete_duplicates(self, name: str, known: State) -> None:
        """Delete duplicates: a creation is repeated if its first response was lost."""
        for run_id in self.tracker.runs(known.experiment_id, self.run, name).get(name, []):
            if run_id != known.run_id:
                self.tracker.drop(run_id)
        for model in self.tracker.models(known.experiment_id, self.run).get(known.run_id, [])[1:]:
            self.tracker.drop_model(model.model_id)
