"""An S3 server that is away, full or strange, credentials that are none: each in its own sentence."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.bucket_servers import VIRTUAL_DOMAIN, S3Server
from tidegate.infra.errors import StoreError
from tidegate.infra.store import Ref
from tidegate.infra.store.s3_bucket import S3Bucket
from tidegate.infra.store.s3_errors import explain
from tidegate.infra.store.s3_store import S3Store

PART = 5 << 20  # the least that S3 allows


@pytest.fixture
def store(s3: S3Server, tmp_path: Path) -> Iterator[S3Store]:
    store = S3Store(s3.url(tmp_path.name), cache=tmp_path / "cache")
    yield store
    store.close()


@pytest.fixture
def own(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server of the test's own, which may be killed, in place of the shared one."""
    server = S3Server(tmp_path / "own")
    assert server.environment().keys() == s3.environment().keys()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.start()
    yield server
    server.kill()


def small(tmp_path: Path, content: bytes = b"weights") -> Path:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    return path


class TestTroubleInWords:
    def told(self, store: S3Store, tmp_path: Path) -> str:
        """The sentence, the same whatever is asked, within seconds and without a secret."""
        sentences = []
        for ask in (lambda: store.read("a"), store.keys, lambda: store.put(small(tmp_path))):
            began = time.monotonic()
            with pytest.raises(StoreError) as caught:
                ask()
            assert time.monotonic() - began < 30
            assert caught.value.__cause__ is None  # nor is it in a traceback
            sentences.append(re.sub(r"^\w+( \w+)? ", "", str(caught.value)))
        with pytest.raises(StoreError):
            store.fetch(Ref(digest="0" * 64, size=1, name="m.keras"))
        assert len(set(sentences)) == 1
        store.close()
        return sentences[0]

    def test_no_credentials(self, store: S3Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        assert "boto3 found no credentials for S3; run `aws configure`" in self.told(store, tmp_path)

    @pytest.mark.parametrize("wrong", ["key", "secret"])
    def test_wrong_credentials(
        self, store: S3Store, s3: S3Server, wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrongkey" if wrong == "key" else s3.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrongsecret")
        told = self.told(store, tmp_path)
        assert f"{s3.endpoint} does not accept the credentials that boto3 found (" in told
        assert not any(word in told for word in ("wrongkey", "wrongsecret", s3.key, s3.secret))

    def test_a_bucket_of_another(
        self, store: S3Store, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        s3.add_user("somebody", "somebodys-secret")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebodys-secret")
        told = self.told(store, tmp_path)
        assert (
            "denies access (AccessDenied); give these credentials the right to list, get, put and delete"
            in told
        )
        assert "somebody" not in told

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (
                "ExpiredToken",
                "does not accept the credentials that boto3 found (ExpiredToken); correct or renew",
            ),
            ("403", "denies access (403)"),
            ("QuotaExceeded", "is full (QuotaExceeded)"),
            (
                "AuthorizationHeaderMalformed",
                "is in another region (AuthorizationHeaderMalformed); set $AWS_REGION",
            ),
            ("RequestTimeTooSkewed", "the clocks of this machine and of the S3 server"),
            ("SlowDown", "failed several times (SlowDown)"),
            ("Whatever", "refused PutObject (Whatever, HTTP 418)"),
        ],
    )
    def test_what_a_server_may_answer(self, code: str, words: str) -> None:
        answer = {"Error": {"Code": code, "Message": "SECRET"}, "ResponseMetadata": {"HTTPStatusCode": 418}}
        told = explain(ClientError(answer, "PutObject"), "Writing to", "b", "s3://b/x", "http://s3:9000")
        assert told.startswith("Writing to s3://b/x: ")
        assert words in told
        assert "SECRET" not in told

    @pytest.mark.usefixtures("s3")
    def test_no_such_bucket(self, tmp_path: Path) -> None:
        store = S3Store("s3://nowhere/x", cache=tmp_path / "c")
        assert "has no bucket nowhere; create it (aws s3 mb s3://nowhere)" in self.told(store, tmp_path)

    @pytest.mark.usefixtures("s3")
    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and does not listen
            endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
            store = S3Store("s3://bucket/x", endpoint=endpoint, cache=tmp_path / "c")
            assert f"the S3 server {endpoint} does not answer; start it" in self.told(store, tmp_path)

    def test_a_server_killed_in_the_middle(self, own: S3Server, tmp_path: Path) -> None:
        large = tmp_path / "large.npz"
        large.write_bytes(os.urandom(PART + 1))
        store = S3Store(own.url("x"), cache=tmp_path / "c", part_size=PART)
        kept = store.put(small(tmp_path))
        events = store.bucket.client.meta.events
        events.register("before-call.s3.CompleteMultipartUpload", lambda **_: own.kill())
        with pytest.raises(
            StoreError, match=r"^Writing to s3://tidegate/x: the S3 server \S+ (does not|closed)"
        ):
            store.put(large)
        own.start()
        events.unregister("before-call.s3.CompleteMultipartUpload")
        assert store.fetch(kept).read_bytes() == b"weights"
        assert [found.digest for found in store.objects()] == [kept.digest]  # no half object
        assert len(store.sweep(0.0)) == 1
        store.close()

    @pytest.mark.usefixtures("s3")
    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "own"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            return  # mounting takes root; everything else here does not
        server = S3Server(folder)
        try:
            server.start()
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials))
            store = S3Store(server.url("x"), endpoint=server.endpoint, cache=tmp_path / "c")
            with pytest.raises(StoreError, match=r"is full \(InsufficientStorage\); free some"):
                store.put(small(tmp_path, b"0" * 2_000_000))
            assert list(store.objects()) == []
            store.close()
        finally:
            server.kill()
            subprocess.run(["umount", folder], check=True)

    @pytest.mark.parametrize(
        "url", ["s3://", "s3://ab", "s3:///x", "s3://b@c/x", "s3://KEY:SECRET@bucket/x", "s3://abc//x"]
    )
    def test_a_url_that_is_none(self, url: str) -> None:
        with pytest.raises(StoreError, match="expected s3://BUCKET/PREFIX") as caught:
            S3Store(url)
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize(
        "endpoint", ["127.0.0.1:9000", "ftp://x", "http://KEY:SECRET@host:9000", "http://"]
    )
    def test_an_endpoint_that_is_none(self, endpoint: str) -> None:
        with pytest.raises(
            StoreError, match=r"expected http\(s\)://HOST:PORT, without credentials"
        ) as caught:
            S3Store("s3://bucket/x", endpoint=endpoint)
        assert "SECRET" not in str(caught.value)

    def test_a_style_that_is_none(self) -> None:
        with pytest.raises(StoreError, match="expected one of auto, path, virtual"):
            S3Store("s3://bucket/x", style="hosted")


class TestAddress:
    def test_the_bucket_in_the_host(
        self, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", s3.endpoint)  # in place of a name server: the host's name goes to it
        store = S3Store(
            s3.url("virtual"), endpoint=f"http://{VIRTUAL_DOMAIN}", style="virtual", cache=tmp_path / "c"
        )
        store.write("a", b"1", None)
        assert store.keys() == ["a"]
        assert (s3.folder / "virtual" / "docs" / "a").read_bytes() == b"1"
        store.close()

    @pytest.mark.usefixtures("s3")
    def test_aws_checks_a_crc_and_others_are_not_asked_to(self) -> None:
        assert S3Bucket("s3://bucket").client.meta.config.request_checksum_calculation == "when_required"
        del os.environ["TIDEGATE_S3_ENDPOINT"]  # the fixture puts it back
        aws = S3Bucket("s3://bucket").client.meta
        assert aws.endpoint_url == "https://s3.amazonaws.com"
        assert aws.config.request_checksum_calculation == "when_supported"

    @pytest.mark.usefixtures("s3")
    def test_how_often_it_is_tried_is_boto3s_own_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert S3Bucket("s3://bucket").client.meta.config.retries["mode"] == "standard"
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
        assert S3Bucket("s3://bucket").client.meta.config.retries["total_max_attempts"] == 7
