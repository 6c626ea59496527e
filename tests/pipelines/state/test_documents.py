"""A document is written over whatever others write at the same time, unless that may stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.infra.store import FolderStore
from tidegate.pipelines.state.documents import replace

KEY = "kind/name.json"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.mark.parametrize("there", [None, b"theirs"])
@pytest.mark.parametrize("stale", [False, True])
def test_whatever_is_there(store: FolderStore, there: bytes | None, stale: bool) -> None:
    etag = store.write(KEY, there, None) if there else None
    if stale:
        store.write(KEY, b"newer", etag)
    made = replace(store, KEY, b"ours", etag)
    assert store.read(KEY) == (b"ours", made)


def test_what_may_stay(store: FolderStore) -> None:
    etag = store.write(KEY, b"theirs", None)
    assert replace(store, KEY, b"ours", stays=lambda found: found == b"theirs") == etag
    assert store.read(KEY) == (b"theirs", etag)
    replace(store, KEY, b"ours", stays=lambda found: found != b"theirs")
    assert store.read(KEY) == (b"ours", replace(store, KEY, b"ours", stays=lambda _: True))
