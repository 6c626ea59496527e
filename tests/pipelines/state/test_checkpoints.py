"""Checkpoints in the store: two are kept, a damaged one is skipped and told, SIGTERM waits for the training."""

import os
import signal
import time
from pathlib import Path

import pytest

from tidegate.infra.store import FolderStore
from tidegate.pipelines.state.checkpoints import ReadOnlyKeeper, StoreKeeper, clear


def keeper(folder: Path) -> tuple[StoreKeeper, list[str]]:
    told: list[str] = []
    return StoreKeeper(FolderStore(folder / "store"), "k" * 64, folder, told.append), told


def put(kept: StoreKeeper, content: str) -> None:
    path = kept.work / "state"
    path.write_text(content)
    kept.save(path)


def test_two_are_kept_the_newest_first(tmp_path: Path) -> None:
    kept, told = keeper(tmp_path)
    for content in ("one", "two", "three", "three"):
        put(kept, content)
    assert [path.read_text() for path in kept.candidates()] == ["three", "two"]
    assert len(list(kept.store.objects())) == 2 and told == []
    assert clear(kept.store, "k" * 64) == [f"checkpoints/{'k' * 64}.json"]
    assert list(kept.store.objects()) == [] == clear(kept.store, "k" * 64)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_bad_one_is_skipped_for_the_one_before(tmp_path: Path, harm: str) -> None:
    kept, _ = keeper(tmp_path)
    put(kept, "one")
    put(kept, "two")
    newest = next(kept.candidates())
    newest.chmod(0o644)
    if harm == "damaged":
        newest.write_text("tw")
    else:
        newest.unlink()
    again, told = keeper(tmp_path)
    assert [path.read_text() for path in again.candidates()] == ["one"]
    assert len(told) == 1 and told[0].startswith("skipped a checkpoint: ")


def test_a_store_that_can_not_be_written_stops_no_training(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, where a folder is expected")
    kept, told = keeper(tmp_path)
    put(kept, "one")
    assert told and told[0].startswith("no checkpoint could be kept: ")


def test_sigterm_waits_until_the_state_is_kept(tmp_path: Path) -> None:
    kept, _ = keeper(tmp_path)
    came: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(time.monotonic()))
    try:
        with kept.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            assert kept.stop_requested() and came == []
        assert len(came) == 1
    finally:
        signal.signal(signal.SIGTERM, before)


def test_who_follows_goes_on_from_the_others_and_waits_for_its_end(tmp_path: Path) -> None:
    kept, _ = keeper(tmp_path)
    put(kept, "one")
    follower = ReadOnlyKeeper(kept.store, "k" * 64, tmp_path, print)
    assert [path.read_text() for path in follower.candidates()] == ["one"]
    assert not follower.writes
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with follower.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not follower.stop_requested()
    finally:
        signal.signal(signal.SIGTERM, before)
