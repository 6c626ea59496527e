"""A bundle goes from store to store: equal bytes, whole or not at all wherever it is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bucket_servers import S3Server
from tests.cluster.small_bundles import make_bundle
from tidegate.infra.errors import CorruptObjectError
from tidegate.infra.store import FolderStore, Ref, Store, open_store
from tidegate.pipelines.promotion.carrying import carry
from tidegate.pipelines.state.bundles import bundle_key, bundle_refs, fetch_bundle, keep_bundle, signature_key
from tidegate.pipelines.state.garbage_collection import collect_garbage
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.signature import PrivateKey, sign, verify
from tidegate.serving.bundle.trust import signed_files


@dataclass
class Made:
    """A signed bundle in a home."""

    home: Home
    bundle: Bundle
    digest: str
    key: PrivateKey

    def trusts(self, signature: bytes) -> bool:
        try:
            verify(signature, signed_files(self.bundle), [self.key.public])
        except Exception:
            return False
        return True

    def carry(self, target: Home) -> int:
        return carry(self.home, target, self.bundle, self.digest, self.trusts)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    home, key = Home(tmp_path / "source"), PrivateKey.new()
    bundle = open_bundle(make_bundle(tmp_path / "bundle", "small"))
    digest = keep_bundle(home, bundle.folder)
    home.store.write(signature_key(digest), sign("small", signed_files(bundle), key), None)
    return Made(home, bundle, digest, key)


@pytest.fixture
def target(tmp_path: Path) -> Home:
    return Home(tmp_path / "target")


def contents(store: Store, digest: str) -> dict[str, bytes]:
    return {ref.name: store.fetch(ref).read_bytes() for ref in bundle_refs(store, digest)}


def test_bytes_and_signature_arrive(made: Made, target: Home) -> None:
    size = made.carry(target)
    assert contents(target.store, made.digest) == contents(made.home.store, made.digest)
    assert size == sum(ref.size for ref in bundle_refs(made.home.store, made.digest))
    for key in (signature_key(made.digest), bundle_key(made.digest)):
        assert target.store.read(key) == made.home.store.read(key)
    folder = fetch_bundle(target, made.digest)
    assert made.trusts((folder / "model.sig").read_bytes())
    again = {found.digest for found in target.store.objects()}
    assert made.carry(target) == size and {found.digest for found in target.store.objects()} == again


class Killed(BaseException):
    """The process ends here."""


class Dying(FolderStore):
    """A store whose user is killed before or after its write number `left`."""

    left = 0

    def _act(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def put(self, path: Path, name: str | None = None) -> Ref:
        self._act()
        ref = super().put(path, name)
        self._act()
        return ref

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        self._act()
        written = super().write(key, content, etag)
        self._act()
        return written


def test_killed_anywhere_it_is_there_whole_or_not_at_all(made: Made, target: Home) -> None:
    store = Dying(target.path / "store")
    target.__dict__["store"] = store
    whole, kills = contents(made.home.store, made.digest), 0
    for at in range(1000):
        store.left = at
        try:
            made.carry(target)
        except Killed:
            kills += 1
        else:
            break
        there = bundle_refs(store, made.digest)
        assert not there or contents(store, made.digest) == whole
        assert not there or store.read(signature_key(made.digest)) is not None
        store.left = 1000
        made.carry(target)  # the same again
        assert contents(store, made.digest) == whole
        for ref in bundle_refs(store, made.digest):
            store.remove(ref.digest)
        documents = store.keys()
        for key in documents:
            store.delete(key)
    assert kills == 2 * (len(whole) + 2)


def test_a_damaged_file_is_not_carried(made: Made, target: Home) -> None:
    ref = bundle_refs(made.home.store, made.digest)[0]
    path = made.home.store.fetch(ref)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptObjectError, match="is damaged"):
        made.carry(target)
    assert bundle_refs(target.store, made.digest) == []


def test_what_the_target_packaged_itself_stays_as_its_own_key_signed_it(
    made: Made, target: Home, tmp_path: Path
) -> None:
    """The same content has the same digest whenever it is packaged, but not the same manifest's file."""
    folder = make_bundle(tmp_path / "other" / "bundle", "small")
    path = folder / "bundle.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "created": "2020-01-01T00:00:00+00:00"}) + "\n"
    )
    assert keep_bundle(target, folder) == made.digest
    target.store.write(signature_key(made.digest), b"theirs", None)
    before = contents(target.store, made.digest)
    assert made.carry(target) == 0
    found = target.store.read(signature_key(made.digest))
    assert found is not None and found[0] == b"theirs"
    assert contents(target.store, made.digest) == before != contents(made.home.store, made.digest)


def test_garbage_collection_leaves_alone_what_nobody_promotes(made: Made, target: Home) -> None:
    made.carry(target)
    collect_garbage(target, young_s=0)
    assert bundle_refs(target.store, made.digest) == [] and list(target.store.objects()) == []


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> Iterator[Home]:
    assert s3
    home = Home(tmp_path / "far")
    home.__dict__["store"] = open_store(f"s3://tidegate/{tmp_path.name}", cache=tmp_path / "cache")
    yield home


def test_to_a_bucket_and_back(made: Made, bucket: Home, target: Home, tmp_path: Path) -> None:
    made.carry(bucket)
    fresh = open_store(f"s3://tidegate/{tmp_path.name}", cache=tmp_path / "another cache")
    assert contents(fresh, made.digest) == contents(made.home.store, made.digest)
    carry(bucket, target, made.bundle, made.digest, made.trusts)
    assert contents(target.store, made.digest) == contents(made.home.store, made.digest)
    assert made.trusts((fetch_bundle(target, made.digest) / "model.sig").read_bytes())
