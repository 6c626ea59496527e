"""What every store promises, with faults: those that its client survives by itself, and calls that take long or twice.

One promise is weaker there: a conflict may be told as a write of which nobody knows whether it was done. What is
promised of a call that fails stands in `test_failed_calls`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.bucket_servers import S3Server
from tests.conformance import test_store as conformance
from tests.faults.store.faults import ALL, SILENT, Faults, now_and_then
from tests.faults.store.faulty_store import FaultyServer, FaultyStore
from tidegate.infra.errors import ConflictError, StoreError
from tidegate.infra.store import FolderStore, Store
from tidegate.infra.store.s3_store import S3Store
from tidegate.infra.store.types import short_etag

EVERY = 4
PART = 5 << 20  # the least that S3 allows: a large file goes in parts
# By name: the store, and the faults that its calls, or the requests to its server, meet.
MIXED = {"folder": SILENT, "s3": ("refused", "lost", *SILENT)}
EACH = {f"{store} {fault}": (store, (fault,)) for store, faults in MIXED.items() for fault in faults}
CASES = {store: (store, faults) for store, faults in MIXED.items()} | (EACH if ALL else {})


class Told(S3Store):
    """Where nobody can know whether a write was done, it says that others have changed the document."""

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        try:
            return super().write(key, content, etag)
        except StoreError as error:
            if "was lost" not in str(error):
                raise
            now = self.read(key)
        seen = f"it is {short_etag(now and now[1])}; expected {short_etag(etag)}"
        raise ConflictError(f"{key} changed meanwhile: {seen}")


@pytest.fixture(params=CASES)
def faults(request: pytest.FixtureRequest) -> Faults:
    return now_and_then(CASES[request.param][1], EVERY, request.node.nodeid)


@pytest.fixture
def store(request: pytest.FixtureRequest, faults: Faults, tmp_path: Path) -> Iterator[Store]:
    kind = CASES[request.node.callspec.params["faults"]][0]
    if kind == "folder":
        yield cast(Store, FaultyStore(FolderStore(tmp_path / "store"), faults))
    else:
        server: S3Server = request.getfixturevalue("s3")
        bucket = Told(server.url(tmp_path.name), cache=tmp_path / "cache", part_size=PART)
        FaultyServer(faults).stand_before(bucket)
        yield bucket
        assert not bucket.bucket.client.list_multipart_uploads(Bucket=server.bucket).get("Uploads")
        bucket.close()
    assert not list(tmp_path.rglob(".tmp-*"))


class TestObjects(conformance.TestObjects):
    """Each case, while calls or requests meet faults."""


class TestDocuments(conformance.TestDocuments):
    """Each case, while calls or requests meet faults."""


def test_the_faults_of_a_seed_are_the_same_again() -> None:
    def history() -> list[str | None]:
        faults = now_and_then(SILENT, EVERY, "again")
        return [met and met.fault for met in (faults.next("read", str(number)) for number in range(200))]

    first = history()
    assert first == history()
    assert set(first) == {None, *SILENT}
