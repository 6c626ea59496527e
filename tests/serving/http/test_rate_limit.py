"""How many requests a caller may send: by key, by token, over all processes of a server."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.serving.conftest import Running
from tidegate.serving.errors import RejectedError, ServerError
from tidegate.serving.http import rate_limit
from tidegate.serving.http.access import Access
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.rate_limit import Buckets, RateLimiter
from tidegate.serving.http.rates import RateLimit
from tidegate.serving.server.access import access_of

Serve = Callable[..., Running]
ALICE, BOB = Caller("alice"), Caller("bob")
BODY = json.dumps({"rows": [[[7] * 8 for _ in range(8)]]}).encode()


def limiter(**limit: Any) -> RateLimiter:
    return RateLimiter(RateLimit.model_validate({"requests": 3, "per": "1h", **limit}))


def refused(known: RateLimiter, caller: Caller) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        known.take(caller)
    return caught.value


def test_so_many_at_once_and_no_more() -> None:
    known = limiter()
    said = [dict(known.take(ALICE)) for _ in range(3)]
    assert [headers[b"ratelimit"].split(b";")[1] for headers in said] == [b"r=2", b"r=1", b"r=0"]
    assert said[0] == {b"ratelimit-policy": b'"default";q=3;w=3600', b"ratelimit": b'"default";r=2;t=1200'}
    error = refused(known, ALICE)
    assert (error.status, error.kind) == (429, "rate_limited")
    assert "more than 3 requests of this caller in 1h; expected at most that; ask again in 1200 s" in str(
        error
    )
    assert dict(error.headers)[b"retry-after"] == b"1200"
    assert dict(error.headers)[b"ratelimit"] == b'"default";r=0;t=3600'
    known.take(BOB)
    known.take(Caller("alice", "https://login.example.org/"))  # another one of that name


def test_some_have_rates_of_their_own() -> None:
    known = limiter(callers={"alice": {"requests": 5}})
    for _ in range(5):
        known.take(ALICE)
    assert "more than 5 requests of this caller in 1m" in str(refused(known, ALICE))


@pytest.mark.parametrize("requests", [1, 3, 7, 1000])
def test_a_bucket_is_filled_evenly(requests: int) -> None:
    buckets, now = Buckets(), 1e6
    step = 60 / requests

    def taken() -> int:
        count = 0
        while buckets.take(7, now, step, 60)[0]:
            count += 1
        return count

    assert taken() == requests
    now += 0.99 * step
    assert taken() == 0  # asking in vain costs nothing
    now += 0.02 * step
    assert taken() == 1
    now += 3600
    assert taken() == requests


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "SETS", 1)
    buckets = Buckets()
    for caller in range(1, 9):
        for _ in range(caller):
            buckets.take(caller, 0.0, 1.0, 60.0)
    assert buckets.take(9, 0.0, 1.0, 60.0) == (True, 1.0)
    assert buckets.take(8, 0.0, 1.0, 60.0) == (True, 9.0)  # known
    assert buckets.take(1, 0.0, 1.0, 60.0) == (True, 1.0)  # forgotten, as it had asked the least


def test_who_verifies_a_release_is_not_limited() -> None:
    access = Access(None, limiter=limiter(requests=1))
    assert [access.admit(Caller("tidegate", own=True)) for _ in range(5)] == [[]] * 5
    access.admit(ALICE)
    with pytest.raises(RejectedError):
        access.admit(ALICE)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"requests": 0}, "greater than or equal to 1"),
        ({"per": "1m"}, "Field required"),
        ({"requests": 5, "per": "0s"}, "should match pattern"),
        ({"requests": 5, "per": "1d"}, "should match pattern"),
        ({"requests": 5, "callers": {"alice": 7}}, "valid dictionary"),
        ({"requests": 5, "burst": 7}, "Extra inputs"),
    ],
)
def test_what_is_no_limit(limit: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RateLimit.model_validate(limit)
    with pytest.raises(ServerError, match="--rate-limit is not valid"):
        access_of(None, None, json.dumps(limit))


def test_a_limit_is_of_somebody() -> None:
    with pytest.raises(ServerError, match="expected --keys or --jwt beside it"):
        access_of(None, None, '{"requests": 5}')


def test_all_processes_count_together(serve: Serve, images: Path, tmp_path: Path) -> None:
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()}" for name in ("alice", "bob")]
    (tmp_path / "keys").write_text("\n".join(lines))
    limit = json.dumps({"requests": 20, "per": "1h", "callers": {"bob": {"requests": 100000}}})
    server = serve(images, "--keys", str(tmp_path / "keys"), "--rate-limit", limit, "--processes", "2")
    large = json.dumps({"rows": [[[7] * 8 for _ in range(8)]] * 3000}).encode()
    statuses = []
    for number in range(30):
        status, headers, body = server.ask(
            "POST", "/predict", large if number % 10 == 0 else BODY, X_API_Key="alice"
        )
        statuses.append(status)
        assert headers["ratelimit-policy"] == '"default";q=20;w=3600'
        assert ("retry-after" in headers) == (status == 429)
        assert status == 200 or b'"rate_limited"' in body
    assert statuses == [200] * 20 + [429] * 10
    assert server.ask("GET", "/contract", X_API_Key="alice")[0] == 429
    for _ in range(30):
        assert server.ask("POST", "/predict", BODY, X_API_Key="bob")[0] == 200
    form = {"Content_Type": "multipart/form-data; boundary=x", "X_API_Key": "bob", "X_Request_ID": "mine"}
    part = b'--x\r\ncontent-disposition: form-data; name="rows"\r\n\r\n%b\r\n--x--\r\n'
    answers = [
        server.ask("POST", "/predict", part % json.dumps(json.loads(BODY)["rows"]).encode(), **form),
        server.ask("POST", "/predict", b"no form", **form),
        server.ask("GET", "/schema.json", X_API_Key="bob", X_Request_ID="mine"),
    ]
    assert [status for status, *_ in answers] == [200, 400, 200]  # all of them BentoML's
    for _, headers, _ in answers:
        assert headers["ratelimit-policy"] == '"default";q=100000;w=60' and headers["x-request-id"] == "mine"
    page = server.ask("GET", "/metrics")[2].decode()
    assert 'tidegate_rate_limited_total{endpoint="digits",release="3"} 11.0' in page and "alice" not in page
