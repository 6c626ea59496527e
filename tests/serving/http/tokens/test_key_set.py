"""The keys of an issuer: replaced without a restart, kept while it is down, and read no more often than needed."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.http.tokens.issuers import Issuer, issuing, new_key
from tidegate.serving.errors import ServerError
from tidegate.serving.http.tokens import key_set
from tidegate.serving.http.tokens.key_set import KeySet
from tidegate.serving.http.tokens.key_source import KeyFile, KeyUrl

FIRST, SECOND = new_key("first"), new_key("second")


def knows(keys: KeySet, kid: str) -> bool:
    return len(keys.find(kid, "ES256")) == 1


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing(FIRST) as running:
        yield running


@pytest.fixture
def keys(issuer: Issuer) -> Iterator[KeySet]:
    known = KeySet(KeyUrl(issuer.url), ["ES256"])
    known.load()
    yield known
    known.stop()


def test_an_unknown_key_makes_one_reading(
    issuer: Issuer, keys: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "READ_AT_MOST_EVERY", 0.0)
    keys.start()
    issuer.keys.append(SECOND)
    issuer.seconds = 0.3
    assert all(keys.ask() for _ in range(100))
    assert not knows(keys, "second")  # nobody waited for it
    until(lambda: knows(keys, "second"))
    assert knows(keys, "first") and issuer.reads == 2


def test_invented_keys_do_not_make_it_read_more_often(issuer: Issuer, keys: KeySet) -> None:
    keys.start()
    assert keys.ask()
    until(lambda: not keys.ask())
    assert not any(keys.ask() for _ in range(100))
    time.sleep(0.3)
    assert issuer.reads == 2


def test_keys_are_read_from_time_to_time(
    issuer: Issuer, keys: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "READ_EVERY", 0.1)
    keys.start()
    version = keys.version
    until(lambda: issuer.reads > 3)
    assert keys.version == version  # they are the same
    issuer.keys = [SECOND]
    until(lambda: knows(keys, "second"))
    assert not knows(keys, "first") and keys.version > version


def test_a_process_forked_much_later_has_todays_keys(
    issuer: Issuer, keys: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.keys = [SECOND]
    monkeypatch.setattr(key_set, "READ_EVERY", 0.0)
    keys.start()
    assert knows(keys, "second") and not knows(keys, "first")


def test_an_issuer_that_is_down_stops_nobody(
    issuer: Issuer, keys: KeySet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_set, "READ_EVERY", 0.1)
    monkeypatch.setattr(key_set, "READ_AT_MOST_EVERY", 0.1)
    issuer.status = 500
    keys.start()
    for body in (None, b"no JSON", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "c2U"}]}'):
        issuer.status, issuer.body = (200 if body else 500), body
        reads = issuer.reads
        until(lambda reads=reads: issuer.reads > reads + 1)
        assert knows(keys, "first") and not keys.stale
    told = " ".join(caplog.messages)
    assert "answers 500 Internal Server Error" in told
    assert "has no JSON Web Key Set" in told and "has no key for ES256" in told
    assert "the keys known before stay valid for 3 days" in told
    issuer.body, issuer.keys = None, [SECOND]
    until(lambda: knows(keys, "second"))


def test_they_are_not_trusted_for_ever(keys: KeySet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.stale == ""
    later = time.monotonic() + key_set.STALE + 1
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: later)
        assert keys.stale == "the keys of its issuer could not be read for 3 days"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, None, "answers 404 Not Found"),
        (302, None, "answers 302 Found"),
        (200, b'{"keys": {}}', "has no JSON Web Key Set"),
        (200, json.dumps({"keys": [new_key(None).public] * 5}).encode(), "has 5 keys for one algorithm"),
        (200, b" " * (1 << 20) + b"{}", "answers more than 1048576 bytes"),
        (200, b"[" * 100000, "has no JSON Web Key Set"),
    ],
)
def test_a_server_does_not_start_without_keys(
    status: int, body: bytes | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "START_SECONDS", 0.5)
    with issuing(FIRST) as running:
        running.status, running.body = status, body
        with pytest.raises(ServerError) as caught:
            KeySet(KeyUrl(running.url), ["ES256"]).load()
    assert told in str(caught.value) and "expected" in str(caught.value)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "START_SECONDS", 0.5)
    with issuing(FIRST) as running:
        url = running.url
    with pytest.raises(ServerError, match=r"does not answer .*refused.*expected a JSON Web Key Set"):
        KeySet(KeyUrl(url), ["ES256"]).load()


@pytest.mark.parametrize(
    "url", ["https://a.example/a b", "https://ä.example/", "https://a.example/ä", "https://a..example/"]
)
def test_a_url_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(ServerError, match="expected a JSON Web Key Set"):
        KeyUrl(url).read()


def test_an_issuer_that_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"220 ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServerError, match=r"does not answer .*220 ready"):
            KeyUrl(f"http://127.0.0.1:{listening.getsockname()[1]}/").read()
        thread.join()


def test_an_issuer_that_is_late(issuer: Issuer) -> None:
    class Late(KeyUrl):
        def read(self) -> dict[str, list[object]]:
            issuer.status = 503 if issuer.reads < 1 else 200
            return super().read()

    known = KeySet(Late(issuer.url), ["ES256"])
    known.load()
    assert issuer.reads == 2 and knows(known, "first")


def test_a_file_that_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "LOOK_AT_FILE_EVERY", 0.0)
    file = tmp_path / "login.jwks"
    known = KeySet(KeyFile(file), ["ES256"])
    with pytest.raises(ServerError, match="cannot be read"):
        known.load()
    file.write_text(json.dumps({"keys": [FIRST.public]}))
    known.load()
    known.look()
    assert knows(known, "first") and known.version == 1
    for draft in ("half", json.dumps({"keys": []})):
        file.write_text(draft)
        known.look()
        assert knows(known, "first") and known.version == 1
    file.unlink()
    known.look()
    assert knows(known, "first") and not known.ask()
    new = tmp_path / "new"
    new.write_text(json.dumps({"keys": [SECOND.public]}))
    new.replace(file)
    known.look()
    assert knows(known, "second") and not knows(known, "first")
