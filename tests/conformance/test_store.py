"""What every store must do. A new one: a line in `STORES`."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tidegate.infra.errors import ConflictError, MissingObjectError, StoreError
from tidegate.infra.store import Ref, Store, open_store

STORES: dict[str, Callable[[Path], str | Path]] = {
    "folder": lambda root: root,
    "folder by uri": lambda root: root.as_uri(),
    "s3": lambda root: f"s3://tidegate/{root.parent.name}",
    "gs": lambda root: f"gs://tidegate/{root.parent.name}",
    "az": lambda root: f"az://tidegate/{root.parent.name}",
}
SERVERS = {"s3": "s3", "gs": "google", "az": "azure"}  # the fixture that starts a store's server


@pytest.fixture(params=STORES)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    if request.param in SERVERS:
        request.getfixturevalue(SERVERS[request.param])
    return STORES[request.param](tmp_path / "store")


@pytest.fixture
def store(uri: str | Path, tmp_path: Path) -> Store:
    return open_store(uri, cache=tmp_path / "cache")


def put(store: Store, folder: Path, content: bytes, name: str = "model.keras") -> Ref:
    path = folder / "source"
    path.write_bytes(content)
    return store.put(path, name)


class TestObjects:
    def test_a_file_comes_back_with_its_suffix(self, store: Store, tmp_path: Path) -> None:
        ref = put(store, tmp_path, b"weights")
        assert ref == Ref(digest=hashlib.sha256(b"weights").hexdigest(), size=7, name="model.keras")
        path = store.fetch(ref)
        assert path.read_bytes() == b"weights"
        assert path.suffix == ".keras"

    def test_the_name_defaults_to_the_files(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "a.onnx").write_bytes(b"x")
        assert store.put(tmp_path / "a.onnx").name == "a.onnx"

    @pytest.mark.parametrize("name", ["model.keras", "a.b.json", "noext", "x.weird-suffix", "x."])
    def test_any_name_works(self, store: Store, tmp_path: Path, name: str) -> None:
        assert store.fetch(put(store, tmp_path, b"1", name)).read_bytes() == b"1"

    def test_an_empty_and_a_large_file(self, store: Store, tmp_path: Path) -> None:
        for content in (b"", b"0123456789" * 700_000):
            assert store.fetch(put(store, tmp_path, content)).read_bytes() == content

    def test_the_same_content_is_kept_once(self, store: Store, tmp_path: Path) -> None:
        assert put(store, tmp_path, b"same") == put(store, tmp_path, b"same")
        assert len(list(store.objects())) == 1

    def test_a_missing_object_is_named(self, store: Store) -> None:
        with pytest.raises(MissingObjectError, match=r"m\.keras \(000000000000…\) is not in the store"):
            store.fetch(Ref(digest="0" * 64, size=1, name="m.keras"))

    def test_objects_are_listed_and_removed(self, store: Store, tmp_path: Path) -> None:
        ref = put(store, tmp_path, b"gone soon")
        assert [(found.digest, found.size) for found in store.objects()] == [(ref.digest, 9)]
        store.remove(ref.digest)
        store.remove(ref.digest)
        assert list(store.objects()) == []
        with pytest.raises(MissingObjectError):
            store.fetch(ref)

    def test_a_source_that_is_not_there_is_named(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"nowhere: no such file"):
            store.put(tmp_path / "nowhere")


class TestDocuments:
    def test_absent_written_read_deleted(self, store: Store) -> None:
        assert store.read("endpoints/a") is None
        etag = store.write("endpoints/a", b"1", None)
        assert store.read("endpoints/a") == (b"1", etag)
        store.delete("endpoints/a")
        store.delete("endpoints/a")
        assert store.read("endpoints/a") is None

    def test_only_the_reader_of_the_newest_may_write(self, store: Store) -> None:
        first = store.write("a", b"1", None)
        second = store.write("a", b"2", first)
        for stale in (first, None):
            with pytest.raises(ConflictError, match=r"a changed meanwhile: it is etag .*; expected "):
                store.write("a", b"3", stale)
        assert store.read("a") == (b"2", second)

    def test_a_deleted_document_is_not_overwritten(self, store: Store) -> None:
        etag = store.write("a", b"1", None)
        store.delete("a")
        with pytest.raises(ConflictError, match="it is no document; expected"):
            store.write("a", b"2", etag)

    def test_keys_by_prefix(self, store: Store) -> None:
        for key in ("runs/b/manifest", "runs/a", "endpoints/x.json"):
            store.write(key, b"", None)
        assert store.keys("runs/") == ["runs/a", "runs/b/manifest"]
        assert store.keys() == ["endpoints/x.json", "runs/a", "runs/b/manifest"]
        assert store.keys("none") == []

    def test_many_are_read_at_once(self, store: Store) -> None:
        etags = {
            f"runs/{number}": store.write(f"runs/{number}", b"%d" % number, None) for number in range(40)
        }
        found = store.read_many([*store.keys("runs/"), "runs/none"])
        assert found == {key: (key.removeprefix("runs/").encode(), etag) for key, etag in etags.items()}

    @pytest.mark.parametrize("key", ["", "/a", "a/", "../a", "a/../b", ".hidden", "a//b", "ä", "a b"])
    def test_a_key_that_could_leave_the_store_is_refused(self, store: Store, key: str) -> None:
        for use in (store.read, store.delete):
            with pytest.raises(StoreError, match="document key is"):
                use(key)

    @pytest.mark.parametrize("there", [False, True])
    def test_of_many_writers_at_once_exactly_one_wins(self, store: Store, there: bool) -> None:
        etag = store.write("a", b"before", None) if there else None

        def race(number: int) -> int | None:
            try:
                store.write("a", b"%d" % number, etag)
            except ConflictError:
                return None
            return number

        with ThreadPoolExecutor(64) as pool:
            winners = [number for number in pool.map(race, range(64)) if number is not None]
        assert len(winners) == 1
        found = store.read("a")
        assert found is not None
        assert found[0] == b"%d" % winners[0]

    def test_sweep_of_a_clean_store(self, store: Store) -> None:
        assert store.sweep(0.0) == []


COUNT = """
import sys
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import open_store
store = open_store(sys.argv[1])
for _ in range(25):
    while True:
        content, etag = store.read("counter") or (b"0", None)
        try:
            store.write("counter", b"%d" % (int(content) + 1), etag)
            break
        except ConflictError:
            pass
"""


def test_no_increment_is_lost_between_processes(uri: str | Path) -> None:
    racers = [subprocess.Popen([sys.executable, "-c", COUNT, str(uri)]) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    found = open_store(uri).read("counter")
    assert found is not None
    assert found[0] == b"100"
