"""What an S3 store promises of a call that fails in the end, or whose answer is lost while others write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bucket_servers import S3Server
from tests.faults.store.faults import Faults, at
from tests.faults.store.faulty_store import TRIES, FaultyServer
from tidegate.infra.errors import ConflictError, StoreError
from tidegate.infra.store.s3_store import S3Store

FAULTS = ("refused", "lost")


@pytest.fixture
def store(s3: S3Server, tmp_path: Path) -> Iterator[S3Store]:
    store = S3Store(s3.url(tmp_path.name), cache=tmp_path / "cache")
    yield store
    store.close()


@pytest.fixture
def others(s3: S3Server, tmp_path: Path) -> Iterator[S3Store]:
    """The same store, as somebody else has it, whose server is well."""
    store = S3Store(s3.url(tmp_path.name), cache=tmp_path / "theirs")
    yield store
    store.close()


def all_tries(store: S3Store, fault: str) -> None:
    """Every try of the next request meets a fault, and boto3 gives up."""
    FaultyServer(Faults(lambda call: fault if call <= TRIES else None), spared=False).stand_before(store)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_that_fails_is_done_once_or_not_and_what_is_read_says_which(
    store: S3Store, others: S3Store, fault: str
) -> None:
    before = others.write("a", b"1", None)
    all_tries(store, fault)
    with pytest.raises(StoreError, match=r"the S3 server \S+ (failed several times|closed)") as caught:
        store.write("a", b"2", before)
    assert not isinstance(caught.value, ConflictError)
    found = store.read("a")
    assert found is not None
    assert found[0] == (b"1" if fault == "refused" else b"2")
    if fault == "refused":
        store.write("a", b"2", before)
    else:
        with pytest.raises(ConflictError, match="read it again and decide again"):
            store.write("a", b"2", before)
    assert (others.read("a") or (b"",))[0] == b"2"


@pytest.mark.parametrize("fault", FAULTS)
def test_an_object_whose_put_fails_is_whole_or_not_there_and_is_put_again(
    store: S3Store, others: S3Store, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"weights")
    all_tries(store, fault)
    with pytest.raises(StoreError):
        store.put(path)
    assert [found.size for found in others.objects()] == ([] if fault == "refused" else [7])
    ref = store.put(path)
    assert others.fetch(ref).read_bytes() == b"weights"
    assert len(list(others.objects())) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_to_be_deleted_is_deleted_again(store: S3Store, others: S3Store, fault: str) -> None:
    others.write("a", b"1", None)
    all_tries(store, fault)
    with pytest.raises(StoreError):
        store.delete("a")
    assert (others.read("a") is None) is (fault == "lost")
    store.delete("a")
    assert others.read("a") is None


def test_a_write_that_was_done_and_overtaken_is_no_conflict(store: S3Store, others: S3Store) -> None:
    """Whoever is told of a conflict decides again, and would do it twice."""

    def add_one() -> None:
        content, etag = others.read("counter") or (b"0", None)
        others.write("counter", b"%d" % (int(content) + 1), etag)

    before = others.write("counter", b"1", None)
    FaultyServer(at(1, "lost"), meanwhile=add_one).stand_before(store)
    with pytest.raises(StoreError, match="somebody else has written it since") as caught:
        store.write("counter", b"2", before)
    assert not isinstance(caught.value, ConflictError)
    assert (others.read("counter") or (b"",))[0] == b"3"  # ours, and theirs


@pytest.mark.parametrize("fault", ["delayed", "refused", "lost", "doubled"])
def test_a_conflict_with_one_writer_is_told_as_one(store: S3Store, others: S3Store, fault: str) -> None:
    before = others.write("a", b"1", None)
    others.write("a", b"2", before)
    FaultyServer(at(1, fault)).stand_before(store)
    with pytest.raises(ConflictError):
        store.write("a", b"3", before)
