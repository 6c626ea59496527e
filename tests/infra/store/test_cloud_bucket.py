"""Buckets of Google's and Azure's clouds: parts, folders that are objects, lost answers, and each trouble in words."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bucket_servers import BucketServer
from tests.infra.store.test_s3_store import Cut
from tidegate.infra.errors import ConflictError, StoreError
from tidegate.infra.store import Ref
from tidegate.infra.store.bucket import Written
from tidegate.infra.store.bucket_store import BucketStore
from tidegate.infra.store.cloud_address import parse
from tidegate.infra.store.cloud_bucket import CloudBucket

PART = 5 << 20
LARGE = 2 * PART + 12_345


@pytest.fixture(params=["google", "azure"])
def server(request: pytest.FixtureRequest) -> BucketServer:
    found: BucketServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(server: BucketServer, tmp_path: Path) -> Iterator[CloudBucket]:
    bucket = CloudBucket(server.url(tmp_path.name), part_size=PART)
    yield bucket
    bucket.close()


def store_at(server: BucketServer, endpoint: str, folder: Path) -> BucketStore:
    return BucketStore(CloudBucket(server.url(folder.name), endpoint=endpoint, part_size=PART), folder / "c")


class TestObjects:
    def test_a_large_file_goes_in_parts_and_comes_back(self, bucket: CloudBucket, tmp_path: Path) -> None:
        content = os.urandom(LARGE)
        (tmp_path / "large").write_bytes(content)
        with (tmp_path / "large").open("rb") as file:
            bucket.upload(file, "large.npz")
        with (tmp_path / "back").open("xb") as file:
            assert bucket.download("large.npz", file)
        assert (tmp_path / "back").read_bytes() == content

    def test_what_is_not_there(self, bucket: CloudBucket, tmp_path: Path) -> None:
        with (tmp_path / "back").open("xb") as file:
            assert bucket.download("nothing", file) is False
        assert bucket.stat("nothing") is bucket.get("nothing") is bucket.mark("nothing", "by") is None
        assert list(bucket.list_objects("nothing")) == []

    def test_a_listing_takes_any_prefix_and_is_sorted(self, bucket: CloudBucket) -> None:
        names = ["a/2.csv", "a/1 b.csv", "a/ä.csv", "ab/1.csv", "b"]
        for name in names:
            bucket.put(name, b"12", None, {})
        assert [found.key for found in bucket.list_objects()] == sorted(names)
        assert [found.key for found in bucket.list_objects("a/")] == ["a/1 b.csv", "a/2.csv", "a/ä.csv"]
        assert [found.key for found in bucket.list_objects("a/1")] == ["a/1 b.csv"]
        assert {found.size for found in bucket.list_objects("a")} == {2}

    def test_an_object_is_told_as_in_a_listing(self, bucket: CloudBucket) -> None:
        bucket.put("x.csv", b"1", None, {})
        (listed,) = bucket.list_objects("x.csv")
        told = bucket.stat("x.csv")
        assert told is not None
        assert told._replace(modified=0) == listed._replace(modified=0)
        assert abs(told.modified - listed.modified) < 1.0

    def test_its_etag_changes_with_its_content(self, bucket: CloudBucket) -> None:
        first = bucket.put("x", b"1", None, {}).etag
        before = bucket.stat("x")
        second = bucket.put("x", b"2", first, {"by-whom": "me"}).etag
        assert second not in (None, first)
        assert bucket.mark("x", "by-whom") == (second, "me")
        assert bucket.put("x", b"3", first, {}) == Written(None)
        after = bucket.stat("x")
        assert before and after and before.etag != after.etag


class TestLostAnswers:
    def test_a_write_is_done_once_and_told_so(self, server: BucketServer, tmp_path: Path) -> None:
        cut = Cut(server.port)
        store = store_at(
            server, server.endpoint.replace(str(server.port), cut.url.rpartition(":")[2]), tmp_path
        )
        first = store.write("a", b"1", None)
        cut.cut = b"HTTP/1.1 20"
        second = store.write("a", b"2", first)  # refused when it is sent again
        assert cut.count == 1
        assert store.read("a") == (b"2", second)
        with pytest.raises(ConflictError):
            store.write("a", b"3", first)
        cut.close()

    def test_what_breaks_off_while_it_is_read_is_read_again(
        self, server: BucketServer, tmp_path: Path
    ) -> None:
        cut = Cut(server.port)
        store = store_at(
            server, server.endpoint.replace(str(server.port), cut.url.rpartition(":")[2]), tmp_path
        )
        content = os.urandom(LARGE)
        (tmp_path / "x.npz").write_bytes(content)
        ref = store.put(tmp_path / "x.npz")
        cut.cut, cut.passed = b"HTTP/1.1 206", 1000
        assert store.fetch(ref).read_bytes() == content
        assert cut.count == 1
        cut.close()


class TestTroubleInWords:
    def told(self, store: BucketStore, tmp_path: Path) -> str:
        """The sentence, the same whatever is asked, within seconds and without a secret."""
        path, sentences = tmp_path / "model.keras", []
        path.write_bytes(b"weights")
        fetched = Ref(digest="0" * 64, size=1, name="m.keras")
        for ask in (
            lambda: store.read("a"),
            store.keys,
            lambda: store.put(path),
            lambda: store.fetch(fetched),
            lambda: store.write("a", b"1", None),
        ):
            began = time.monotonic()
            with pytest.raises(StoreError) as caught:
                ask()
            assert time.monotonic() - began < 30
            assert caught.value.__cause__ is None  # nor is it in a traceback
            said = str(caught.value).partition(f"{store.url}: ")[2]
            sentences.append(re.sub(r" \((\w+|HTTP \d+)\)", "", said))  # an answer to HEAD has no code
        assert len(set(sentences)) == 1, sentences
        return sentences[0]

    def test_no_such_bucket(self, server: BucketServer, tmp_path: Path) -> None:
        store = BucketStore(CloudBucket(f"{server.scheme}://nowhere/x"), tmp_path / "c")
        kind = {"gs": "bucket", "az": "container"}[server.scheme]
        assert f"has no {kind} nowhere; create it (" in self.told(store, tmp_path)

    def test_a_server_that_is_not_there(self, server: BucketServer, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and does not listen
            endpoint = server.endpoint.replace(str(server.port), str(taken.getsockname()[1]))
            store = BucketStore(CloudBucket(server.url("x"), endpoint=endpoint), tmp_path / "c")
            assert f"at {endpoint} does not answer; check the network" in self.told(store, tmp_path)

    def test_a_wrong_key(self, azure: BucketServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
        told = self.told(BucketStore(CloudBucket(azure.url("x")), tmp_path / "c"), tmp_path)
        assert "denies access; give these credentials the right to list, read, write and delete" in told
        assert "d3Jvbmc=" not in told

    @pytest.mark.parametrize("scheme", ["gs", "az"])
    def test_no_credentials(self, scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in [name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_"))]:
            monkeypatch.delenv(name)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # where no token is given
            nobody = f"127.0.0.1:{taken.getsockname()[1]}"
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
            monkeypatch.setenv("AZURE_MSI_ENDPOINT", f"http://{nobody}/token")
            told = self.told(BucketStore(CloudBucket(f"{scheme}://tidegate/x"), tmp_path / "c"), tmp_path)
        found = {"gs": "gcloud auth application-default login", "az": "set AZURE_STORAGE_ACCOUNT_KEY"}
        assert found[scheme] in told


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "gs://",
            "gs://AB",
            "az:///x",
            "gs://b@c/x",
            "az://KEY:SECRET@box/x",
            "gs://abc//x",
            "az://a?SECRET",
        ],
    )
    def test_a_url_that_is_none(self, url: str) -> None:
        expected = r"expected (gs://BUCKET|az://CONTAINER)/PREFIX"
        with pytest.raises(StoreError, match=expected) as caught:
            CloudBucket(url)
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize(
        "endpoint", ["127.0.0.1:1", "ftp://x", "http://KEY:SECRET@host", "https://h/?SECRET"]
    )
    def test_an_endpoint_that_is_none(self, endpoint: str) -> None:
        with pytest.raises(StoreError, match=r"expected http\(s\)://HOST:PORT, without cred") as caught:
            CloudBucket("gs://bucket/x", endpoint=endpoint)
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize(
        ("endpoint", "account"),
        [
            ("https://shop.blob.core.windows.net", "shop"),
            ("http://127.0.0.1:1/shop", "shop"),
            (None, "named"),
        ],
    )
    def test_the_account_is_named_or_the_endpoints(
        self, endpoint: str | None, account: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
        if endpoint is None:
            with pytest.raises(
                StoreError, match=r"nothing names the storage account of az://box/x; expected it in"
            ):
                parse("az://box/x")
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "named")
        assert parse("az://box/x", endpoint).account == account


def test_a_library_that_is_not_there_is_told() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from tidegate.infra.errors import StoreError\n"
        "from tidegate.infra.store import open_store\n"
        "try: open_store('gs://bucket/x')\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "gs://bucket/x is reached by obstore, which is not here" in done.stdout
    assert "install tidegate[clouds]" in done.stdout
