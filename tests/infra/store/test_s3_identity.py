"""S3 without static keys: a service account's token for a role, tokens that end, and keys that are replaced."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws_server import BUCKET, Gate, aws
from tests.bucket_servers import S3Server
from tidegate.infra.errors import StoreError
from tidegate.infra.store.s3_store import S3Store

PART = 5 << 20
ROLE = "arn:aws:iam::123456789012:role/tidegate"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with aws(tmp_path_factory.mktemp("aws")) as gate:
        yield gate


@pytest.fixture
def gate(server: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The servers as a pod finds them whose service account has a role; nothing has been asked yet."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "TIDEGATE_S3"))]:
        monkeypatch.delenv(name)
    (tmp_path / "token").write_text("first")
    found = {
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_STS": server.url,
        "TIDEGATE_S3_ENDPOINT": server.url,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    server.life_s, server.slow_s, server.refuses, server.refused = 3600.0, 0.0, False, 0
    server.asked.clear()
    server.used.clear()
    return server


@pytest.fixture
def store(gate: Gate, tmp_path: Path) -> Iterator[S3Store]:
    del gate
    store = S3Store(f"s3://{BUCKET}/{tmp_path.name}", cache=tmp_path / "cache", part_size=PART)
    yield store
    store.close()


def test_a_role_is_all_that_is_needed(gate: Gate, store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"weights")
    ref = store.put(tmp_path / "model.keras")
    assert store.fetch(ref).read_bytes() == b"weights"
    etag = store.write("a", b"1", None)
    assert store.read("a") == (b"1", etag)
    assert gate.asked == [(ROLE, "first")]
    assert gate.refused == 0


def test_a_token_that_ends_within_an_upload_is_renewed(gate: Gate, store: S3Store, tmp_path: Path) -> None:
    gate.life_s, gate.slow_s = 3.0, 1.6
    content = os.urandom(8 * PART)  # eight parts, four at once: longer than a token lives
    (tmp_path / "large.npz").write_bytes(content)
    ref = store.put(tmp_path / "large.npz")
    gate.slow_s = 0.0
    assert store.fetch(ref).read_bytes() == content
    assert len(set(gate.used)) > 2
    assert {role for role, _ in gate.asked} == {ROLE}


def test_the_service_accounts_newest_token_is_shown(gate: Gate, store: S3Store, tmp_path: Path) -> None:
    gate.life_s = 3.0
    store.write("a", b"1", None)
    (tmp_path / "token").write_text("second")  # as the kubelet does
    store.write("b", b"1", None)
    assert gate.asked[0] == (ROLE, "first")
    assert gate.asked[-1] == (ROLE, "second")


def test_a_role_that_is_refused_is_told(gate: Gate, store: S3Store) -> None:
    gate.refuses = True
    with pytest.raises(
        StoreError, match=r"token service refused the role \(AccessDenied\); see that the role"
    ):
        store.read("a")


@pytest.mark.usefixtures("gate")
def test_a_token_service_that_is_away_is_told(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StoreError, match=r"AWS's token service http://127.0.0.1:[0-9]+/ does not answer"):
            store.read("a")


@pytest.mark.usefixtures("s3")
def test_keys_that_are_replaced_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Secret that is replaced reaches a pod as a new file; a store that is open takes it."""
    server = S3Server(tmp_path / "own")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.start()
    store = S3Store(server.url("x"), cache=tmp_path / "c", part_size=PART)
    try:
        etag = store.write("a", b"1", None)
        server.kill()
        server.key, server.secret = "another-key", "another-secret"
        server.start()
        with pytest.raises(StoreError, match="does not accept the credentials"):
            store.read("a")
        server.write_credentials(server.key, server.secret)
        assert store.read("a") == (b"1", etag)
        server.kill()
        server.key = "a-third-key"
        server.write_credentials(server.key, server.secret)
        server.start()
        (tmp_path / "large.npz").write_bytes(os.urandom(2 * PART))
        assert store.has(store.put(tmp_path / "large.npz"))
    finally:
        store.close()
        server.kill()
