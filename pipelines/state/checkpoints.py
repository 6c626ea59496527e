"""Checkpoints of a training in the store: two objects, and a document that names them, the newest first.

They are the same in a folder and in a bucket, so that a killed trial resumes wherever it is started again. They are
found by the step's key, which covers everything that the training depends on. Two runs of one trial at the same time
write the same states, so either can resume from the other's.
"""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tidegate.infra.errors import ConflictError, InfraError
from tidegate.infra.store import Ref, Store

PREFIX = "checkpoints/"
FOLD = "-fold-"
KEPT = 2


class StoreKeeper:
    """Keeps the state of one trial; see `training.checkpoint.CheckpointManager`.

    If the store cannot be reached, the training loses nothing but its checkpoints.

    Attributes:
        writes: False in `ReadOnlyKeeper`.

    Args:
        store: the home's.
        key: the step's.
        work: a folder for temporary files.
        say: called with a sentence when something goes wrong.
        before_save: called before a checkpoint is kept; an error that it raises ends the training.
    """

    writes = True

    def __init__(
        self,
        store: Store,
        key: str,
        work: Path,
        say: Callable[[str], None],
        before_save: Callable[[], object] = lambda: None,
    ) -> None:
        self.store, self.work = store, work
        self._before_save = before_save
        self._document = f"{PREFIX}{key}.json"
        self._say = say
        self._sigterm = threading.Event()

    def save(self, path: Path) -> None:
        """Keep this checkpoint and the one before it."""
        self._before_save()
        try:
            ref = self.store.put(path, "checkpoint.npz")
            before = [known for known in _write(self.store, self._document, ref) if known != ref]
            for old in before[KEPT - 1 :]:
                self.store.remove(old.digest)
        except InfraError as error:
            self._say(f"no checkpoint could be kept: {error}")

    def candidates(self) -> Iterator[Path]:
        """Checkpoints whose digest is right, the newest first; what is damaged or gone is reported."""
        try:
            refs = _read(self.store, self._document)[0]
        except InfraError as error:
            self._say(f"checkpoints cannot be read: {error}")
            return
        for ref in refs:
            try:
                path = self.store.fetch(ref)
            except InfraError as error:
                self.report_unusable(str(error))
            else:
                yield path

    def report_unusable(self, reason: str) -> None:
        """Report that a checkpoint cannot be used."""
        self._say(f"skipped a checkpoint: {reason}")

    def stop_requested(self) -> bool:
        """Whether SIGTERM came."""
        return self._sigterm.is_set()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Delay SIGTERM until the training has saved its state; then it has its usual effect."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return

        def note(*_: object) -> None:
            self._sigterm.set()

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            if self._sigterm.is_set():
                signal.raise_signal(signal.SIGTERM)


class ReadOnlyKeeper(StoreKeeper):
    """Resumes from the checkpoints of another process of the same training, writes none, and ends after it."""

    writes = False

    def stop_requested(self) -> bool:
        """No: it waits for the process that keeps the state, whose end ends this one."""
        return False


def _read(store: Store, document: str) -> tuple[list[Ref], str | None]:
    found = store.read(document)
    if found is None:
        return [], None
    return [Ref.model_validate(ref) for ref in json.loads(found[0])], found[1]


def _write(store: Store, document: str, ref: Ref) -> list[Ref]:
    """Put a reference first and return those that were there before."""
    while True:
        before, etag = _read(store, document)
        kept: list[Any] = [one.model_dump() for one in [ref, *(old for old in before if old != ref)][:KEPT]]
        with contextlib.suppress(ConflictError):  # another run of the same trial was quicker
            store.write(document, json.dumps(kept).encode(), etag)
            return before


def fold_key(key: str, fold: int) -> str:
    """The key of the checkpoints of one fold, from 0, of a trial."""
    return f"{key}{FOLD}{fold}"


def step_key(key: str) -> str:
    """The key of the step, from the key of its checkpoints or of those of one of its folds."""
    return key.partition(FOLD)[0]


def clear(store: Store, key: str) -> list[str]:
    """Remove the checkpoints of a step and of its folds, and return the names of what was removed."""
    removed = []
    for document in store.keys(PREFIX + key):
        refs = _read(store, document)[0]
        store.delete(document)
        for ref in refs:
            store.remove(ref.digest)
        removed.append(document)
    return removed
