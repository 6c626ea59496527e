"""Tokens at a running endpoint: on every path, beside keys, with keys that change under load."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.forked import Server
from tests.serving.conftest import Running
from tests.serving.http.tokens.issuers import NAME, Issuer, issuing, new_key, token
from tidegate.serving.deployment.handover import server_argv
from tidegate.serving.grpc_v2.messages import CLASSES

Serve = Callable[..., Running]
BODY = json.dumps({"rows": [[[7] * 8 for _ in range(8)]]}).encode()
KEY = new_key()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing(KEY) as running:
        yield running


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def grpc_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(
    serve: Serve,
    images: Path,
    issuer: Issuer,
    log: Path,
    grpc_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Running:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"bob {hashlib.sha256(b'bobs-key').hexdigest()}\n")
    limit = {"requests": 100000, "callers": {"often": {"requests": 1, "per": "1h"}}}
    more = ("--jwt", json.dumps(issuer.settings(scope="predict")), "--keys", str(keys), "--access-log", "1")
    more += ("--rate-limit", json.dumps(limit))
    return serve(images, *more, "--grpc-port", str(grpc_port), log=log)


def bearer(word: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {word}"}


def test_on_every_path(server: Running) -> None:
    good, poor = token(KEY, scope="predict"), token(KEY, scope="read")
    late = token(KEY, exp=1, scope="predict")
    large = json.dumps({"rows": [[[7] * 8 for _ in range(8)]] * 3000}).encode()
    for body in (BODY, large):  # in the HTTP protocol, and through ASGI
        assert server.ask("POST", "/predict", body, **bearer(good))[0] == 200
        assert server.ask("POST", "/predict", body, **bearer("bobs-key"))[0] == 200
        status, headers, content = server.ask("POST", "/predict", body, **bearer(late))
        assert status == 401 and b"the token ended" in content
        assert headers["www-authenticate"].startswith(
            'Bearer error="invalid_token", error_description="the token ended'
        )
        status, headers, content = server.ask("POST", "/predict", body, **bearer(poor))
        assert status == 403 and b"the token has no scope" in content
        assert headers["www-authenticate"].startswith(
            'Bearer error="insufficient_scope", scope="predict", error_desc'
        )
        status, headers, content = server.ask("POST", "/predict", body)
        assert (status, headers["www-authenticate"]) == (401, "Bearer") and b"has no key or token" in content
        status, _, content = server.ask("POST", "/predict", body, X_API_Key="nobodys-key")
        assert (
            status == 401 and b"key or token is not valid; expected a token of its issuer or a key" in content
        )
    assert server.ask("GET", "/contract")[0] == 401
    assert server.ask("GET", "/contract", **bearer(good))[0] == 200
    assert server.ask("POST", "/v2/models/digits/infer", BODY, **bearer(poor))[0] == 403
    for path in ("/livez", "/readyz", "/metrics"):
        assert server.ask("GET", path)[0] == 200
    # Who asks is known before what is asked for: this model writes no texts.
    events = {"Accept": "text/event-stream"}
    asked = [server.ask("POST", "/predict", BODY, **bearer(word), **events)[0] for word in (good, poor, late)]
    assert asked == [406, 403, 401]


def test_the_log_names_who_asked(server: Running, log: Path) -> None:
    given = {
        "one": bearer(token(KEY, scope="predict", sub="carol")),
        "two": {"X-API-Key": "bobs-key"},
        "three": bearer(token(KEY, sub="dave")),
        "four": bearer(token(KEY, sub="eve", exp=1)),
    }
    for request, headers in given.items():
        server.ask("POST", "/predict", BODY, **headers, X_Request_ID=request)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found = {line["request_id"]: (line.get("caller"), line.get("issuer"), line["status"]) for line in lines}
    assert found["one"] == ("carol", NAME, 200) and found["two"] == ("bob", None, 200)
    assert found["three"] == ("dave", NAME, 403) and found["four"] == (None, None, 401)
    assert "ey" not in log.read_text().replace("key", "")


def test_over_grpc(server: Running, grpc_port: int) -> None:
    def ask(word: str = "") -> tuple[grpc.StatusCode, dict[str, Any]]:
        pairs = [("authorization", f"Bearer {word}")] if word else []
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            metadata = channel.unary_unary(
                "/inference.GRPCInferenceService/ServerMetadata",
                lambda message: message.SerializeToString(),
                CLASSES["ServerMetadataResponse"].FromString,
            )
            try:
                call = metadata.with_call(CLASSES["ServerMetadataRequest"](), metadata=pairs, timeout=10)[1]
            except grpc.RpcError as error:
                return error.code(), dict(error.trailing_metadata() or ())
        return grpc.StatusCode.OK, dict(call.trailing_metadata() or ())

    assert server.ask("GET", "/readyz")[0] == 200
    code, told = ask(token(KEY, scope="predict", sub="often"))
    assert code is grpc.StatusCode.OK and told["ratelimit"] == '"default";r=0;t=3600'
    code, told = ask(token(KEY, scope="predict", sub="often", jti="another"))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and told["retry-after"] == "3600"
    for word, refused in (
        ("", grpc.StatusCode.UNAUTHENTICATED),
        (token(KEY, exp=1), grpc.StatusCode.UNAUTHENTICATED),
        (token(KEY), grpc.StatusCode.PERMISSION_DENIED),
    ):
        code, told = ask(word)
        assert code is refused and told["www-authenticate"].startswith("Bearer")


def test_keys_change_under_load_and_no_request_fails(serve: Serve, images: Path) -> None:
    """The first request with a new key waits for it; a server whose issuer is down goes on."""
    with issuing(KEY) as issuer:
        server = serve(images, "--jwt", json.dumps(issuer.settings()), "--processes", "2")
        signing, done, statuses = [KEY], threading.Event(), []

        def ask() -> None:
            while not done.is_set():
                statuses.append(server.ask("POST", "/predict", BODY, **bearer(token(signing[0])))[0])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        new = new_key("second")
        issuer.keys.append(new)
        signing[0] = new
        time.sleep(2)
        issuer.status = 500
        time.sleep(0.5)
        done.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200} and len(statuses) > 20
        assert issuer.reads <= 1 + 2  # once before the fork, once in each process
        for number in range(50):
            invented = token(new_key(f"invented-{number}"))
            assert server.ask("POST", "/predict", BODY, **bearer(invented))[0] == 401
        assert issuer.reads <= 1 + 2 + 2


def test_invented_keys_at_a_slow_issuer_make_nobody_wait(serve: Serve, images: Path) -> None:
    """A hundred requests with keys that nobody has wait for the issuer; they take no places of others."""
    with issuing(KEY) as issuer:
        server = serve(images, "--jwt", json.dumps(issuer.settings()), "--queue-seconds", "0.0001")
        issuer.seconds = 3.0
        good = token(KEY)
        invented = [bearer(token(new_key(f"invented-{number}"))) for number in range(100)]
        waiting: list[int] = []
        threads = [
            threading.Thread(
                target=lambda headers=headers: waiting.append(
                    server.ask("POST", "/predict", BODY, **headers)[0]
                )
            )
            for headers in invented
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began = len(waiting)
        assert [server.ask("POST", "/predict", BODY, **bearer(good))[0] for _ in range(20)] == [200] * 20
        for thread in threads:
            thread.join()
        assert set(waiting) == {401} and len(waiting) == 100 and began < 100


def test_a_server_without_its_issuers_keys_does_not_start(
    images: Path, tmp_path: Path, free_port: int
) -> None:
    settings = {"issuer": NAME, "audience": "a", "jwks": "login"}
    argv = [*server_argv(images, "digits", 3, tmp_path / "control", free_port), "--jwt", json.dumps(settings)]
    with (tmp_path / "log").open("wb") as errors:
        assert Server(argv, (1, errors.fileno())).wait(60) == 1
    told = (tmp_path / "log").read_text()
    assert "the file login.jwks cannot be read" in told and len(told.splitlines()) == 1
