"""Who may ask, from where, and what stands in the logs."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.conftest import ROOT, Running
from tidegate.serving.errors import RejectedError, ServerError
from tidegate.serving.http.access import Access
from tidegate.serving.http.api_keys import CHECK, ApiKeys, new_key, read_keys
from tidegate.serving.http.caller import Caller

Serve = Callable[..., Running]
BODY = json.dumps({"rows": [[[7] * 8 for _ in range(8)]]}).encode()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _line(name: str, key: str) -> str:
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()}\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("# who may ask\n" + _line("old", "first-key"))
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def server(serve: Serve, images: Path, keys: Path, log: Path) -> Running:
    return serve(images, "--keys", str(keys), "--cors", "https://example.org", "--access-log", "1", log=log)


def test_only_with_a_key(server: Running) -> None:
    for path in ("/predict", "/v1/models/digits:predict", "/v2/models/digits/infer"):
        for headers in ({}, {"X_API_Key": "other"}, {"Authorization": "Basic first-key"}):
            status, answered, content = server.ask("POST", path, BODY, **headers)
            assert (status, answered["www-authenticate"]) == (401, "Bearer")
            assert b"expected a key" in content
    assert server.ask("POST", "/predict", BODY, X_API_Key="first-key")[0] == 200
    assert server.ask("POST", "/predict", BODY, Authorization="Bearer first-key")[0] == 200
    assert server.ask("GET", "/contract")[0] == 401
    assert server.ask("GET", "/nothing")[0] == 401
    for path in ("/livez", "/readyz", "/metrics", "/v2/health/ready", "/v2/health/live"):
        assert server.ask("GET", path)[0] == 200


def test_keys_are_rotated_without_a_gap(server: Running, keys: Path) -> None:
    keys.write_text(_line("old", "first-key") + _line("new", "second-key"))
    deadline = time.monotonic() + CHECK * 5
    while server.ask("POST", "/predict", BODY, X_API_Key="second-key")[0] != 200:
        assert server.ask("POST", "/predict", BODY, X_API_Key="first-key")[0] == 200
        assert time.monotonic() < deadline
        time.sleep(0.1)
    whole = keys.read_text()
    keys.write_text("half a li")
    time.sleep(CHECK + 0.5)
    assert server.ask("POST", "/predict", BODY, X_API_Key="second-key")[0] == 200
    keys.write_text(whole)


def test_pages_of_one_origin_may_ask(server: Running) -> None:
    asked = {"Origin": "https://example.org", "Access_Control_Request_Method": "POST"}
    status, headers, _ = server.ask("OPTIONS", "/predict", **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, "https://example.org")
    assert "x-api-key" in headers["access-control-allow-headers"]
    _, headers, _ = server.ask("POST", "/predict", BODY, Origin="https://example.org", X_API_Key="second-key")
    assert headers["access-control-allow-origin"] == "https://example.org"
    _, headers, _ = server.ask("POST", "/predict", BODY, Origin="https://evil.example")
    assert "access-control-allow-origin" not in headers


def test_ids_and_traces_are_passed_on_and_logged(server: Running, log: Path) -> None:
    given = {"X_Request_ID": "mine-1", "traceparent": TRACE, "tracestate": "a=b", "X_API_Key": "second-key"}
    status, headers, _ = server.ask("POST", "/predict", BODY, **given)
    assert status == 200
    assert (headers["x-request-id"], headers["traceparent"], headers["tracestate"]) == (
        "mine-1",
        TRACE,
        "a=b",
    )
    _, headers, _ = server.ask("GET", "/livez", X_Request_ID="with space")
    assert headers["x-request-id"] != "with space"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (mine,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert mine["trace_id"] == TRACE.split("-")[1]
    assert (mine["route"], mine["status"], mine["rows"], mine["release"]) == ("/predict", 200, 1, 3)
    assert mine["caller"] == "new"
    assert "7, 7" not in log.read_text()
    assert "second-key" not in log.read_text()


def test_other_hosts_need_a_key_or_a_word(images: Path, free_port: int) -> None:
    argv = [
        sys.executable,
        "-P",
        "-m",
        "tidegate.serving.server",
        "--bundle",
        str(images),
        "--host",
        "0.0.0.0",
    ]
    argv += ["--port", str(free_port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "expected --keys FILE" in ended.stderr and "--allow-anonymous" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_anonymous_when_allowed(serve: Serve, images: Path) -> None:
    server = serve(images, "--host", "0.0.0.0", "--allow-anonymous")
    assert server.ask("POST", "/predict", BODY)[0] == 200


def test_one_more_key_beside_those_of_the_file(keys: Path) -> None:
    known = Access(ApiKeys(keys, _line("tidegate", "own-key")))
    assert known.identify({b"x-api-key": b"own-key"}) == Caller("tidegate", own=True)
    assert known.identify({b"authorization": b"Bearer second-key"}) == Caller("new")
    with pytest.raises(RejectedError, match="is not valid"):
        known.identify({b"x-api-key": b"third-key"})
    with pytest.raises(ServerError, match="TIDEGATE_OWN_KEY holds a line that is not a key"):
        ApiKeys(keys, "tidegate own-key")


def test_a_file_that_could_not_be_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.serving.http.api_keys.CHECK", 0.0)
    file = tmp_path / "keys"
    file.write_text(_line("old", "first-key"))
    known = ApiKeys(file)
    file.write_text("half a li")
    changed = file.stat()
    assert known.find(b"first-key") == Caller("old")
    file.write_text(_line("new", "second-key"))
    os.utime(file, ns=(changed.st_atime_ns, changed.st_mtime_ns))  # as chmod leaves it
    assert known.find(b"second-key") == Caller("new")
    assert known.find(b"first-key") is None


def test_making_a_key(run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    made = run_python("-m", "tidegate.pipelines.cli", "keys", "me")
    key = made.stderr.split()[-1]
    assert made.stdout == _line("me", key)
    refused = run_python("-m", "tidegate.pipelines.cli", "keys", "me too")
    assert refused.returncode == 2 and "key name 'me too' is not valid; expected one word" in refused.stderr
    with pytest.raises(ServerError, match="is not valid; expected one word"):
        new_key("\udcff")  # what Python makes of a byte that is no UTF-8
    for content in ("", "# only words\n", "name nothex\n"):
        (tmp_path / "keys").write_text(content)
        with pytest.raises(ServerError, match="expected lines NAME SHA256"):
            read_keys(tmp_path / "keys")
    with pytest.raises(ServerError, match="cannot be read"):
        read_keys(tmp_path / "absent")
