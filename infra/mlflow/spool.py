"""The spool: the events of a run for MLflow, written to disk first, so that MLflow never blocks a training.

One file per MLflow run in the run's folder: `run.jsonl` for the parent, `<trial>.jsonl` for each child.
One JSON object per line: kind, id (unique in the file), t (ms, epoch) and the kind's own keys.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from tidegate.infra.errors import SpoolError
from tidegate.infra.system.files import sync_folder, translate_os_errors

Event = dict[str, Any]

PARENT = "run"
TAIL = 1 << 16


def path_of(folder: Path, name: str = PARENT) -> Path:
    """Return the spool file of an MLflow run: `run` is the parent, any other name a trial."""
    return folder / f"{name}.jsonl"


class Spool:
    """Appends events; several processes may write to one spool at once.

    An event whose id exists already is not written again, so a killed trial can simply run again.
    """

    def __init__(self, folder: Path, name: str = PARENT) -> None:
        self.path = path_of(folder, name)
        self._ids: set[str] = set()
        self._read = 0

    def write(self, kind: str, id: str, **payload: Any) -> bool:
        """Append one event and sync it to disk; return False if its id was written before.

        Args:
            kind: run, params, tags, metrics, system, dataset, artifact, figures, model or end.
            id: unique in this spool, and the same whenever the same event is written: "epoch-3".
            payload: the kind's keys, JSON values, NumPy values or pydantic models; `t` (ms) defaults to now. Figures
                and models of the parent's spool may be a `child`'s.

        Raises:
            SpoolError: the disk is full or not writable; the spool is unchanged.
        """
        event = {"kind": kind, "id": id, "t": int(time.time() * 1000)} | payload
        line = (json.dumps(event, default=_plain) + "\n").encode()
        with translate_os_errors(SpoolError, self.path, "Writing"):
            return self._append(id, line)

    def _append(self, id: str, line: bytes) -> bool:
        with self._open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up(file)
            if id in self._ids:
                return False
            try:
                _write_whole(file, line)
            except OSError:
                file.truncate(self._read)
                raise
            self._read += len(line)
            self._ids.add(id)
            return True

    def _open(self) -> FileIO:
        try:
            return self.path.open("r+b", buffering=0)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            sync_folder(self.path.parent)
            return self._open()

    def _catch_up(self, file: FileIO) -> None:
        """Read what other processes wrote since, and remove an incomplete last line that a kill left."""
        file.seek(self._read)
        for event, end in _parse(file.readall(), self._read):
            self._ids.add(event["id"])
            self._read = end
        file.truncate(self._read)
        file.seek(self._read)


def _write_whole(file: FileIO, line: bytes) -> None:
    """Write the whole line and sync it; on a full disk, one write may be partial and only the next one fails."""
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be logged to MLflow; expected plain JSON values")


def read(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield each complete event from byte `offset` on, and the offset after it; nothing if there is no file.

    Raises SpoolError when the file cannot be read.
    """
    with translate_os_errors(SpoolError, path, "Reading"):
        try:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return
    yield from _parse(content, offset)


def _parse(content: bytes, offset: int) -> Iterator[tuple[Event, int]]:
    """Parse complete lines only: a last line without a newline was cut by a kill, or is being written."""
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        offset += len(line)
        yield json.loads(line), offset


def names(folder: Path) -> list[str]:
    """List a run's spools: the parent first, then the trials by name."""
    found = sorted(path.stem for path in folder.glob("*.jsonl"))
    return sorted(found, key=lambda name: name != PARENT)


def sizes(folder: Path) -> dict[str, int]:
    """The bytes of each of a run's spools, in the order of `names`; quick for thousands."""
    with os.scandir(folder) as entries:
        found = {
            entry.name.removesuffix(".jsonl"): entry.stat().st_size
            for entry in entries
            if entry.name.endswith(".jsonl")
        }
    return dict(sorted(found.items(), key=lambda one: (one[0] != PARENT, one[0])))


def events(folder: Path, name: str = PARENT) -> list[Event]:
    """Read one whole spool."""
    return [event for event, _ in read(path_of(folder, name))]


def last_metrics(folder: Path, name: str) -> Event | None:
    """Return the newest metrics event, or None; reads only the end of the file, so it may be called often."""
    path = path_of(folder, name)
    with translate_os_errors(SpoolError, path, "Reading"):
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(max(0, size - TAIL))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return None
    # The first piece may begin inside a line, the last one has no newline yet.
    whole = lines[:-1] if size <= TAIL else lines[1:-1]
    found = (json.loads(line) for line in reversed(whole) if b'"metrics"' in line)
    return next((event for event in found if event["kind"] == "metrics"), None)
