"""An endpoint that writes texts as events: what it writes is what it answers, and who goes away stops the work."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.columns import load_columns
from tidegate.serving.inference.predictor import sample_rows

from .conftest import Endpoint, built, serving

EVENTS = {"Accept": "text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module", params=["gpt", "char_lm"])
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A model with a cache, and one that reads whole texts."""
    folder = built("texts", tmp_path_factory)
    columns = load_columns(folder / f"{request.param}.npz")
    rows = sample_rows({"prompt": columns["prompt"]}, 20)
    bundle, control = folder / f"{request.param}-onnx", tmp_path_factory.mktemp("server")
    with serving(bundle, request.param, "onnx", rows, np.zeros((0, 2)), control) as running:
        yield running


def events(endpoint: Endpoint, body: Any) -> tuple[int, list[tuple[str, Any]]]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    try:
        connection.request("POST", "/predict", json.dumps(body), EVENTS)
        answer = connection.getresponse()
        whole = answer.read().decode()
    finally:
        connection.close()
    if answer.getheader("content-type") != "text/event-stream":
        return answer.status, [("", json.loads(whole))]
    assert answer.getheader("cache-control") == "no-store"
    assert answer.getheader("transfer-encoding") == "chunked"
    parts = [event.split("\n") for event in whole.split("\n\n")[:-1]]
    return answer.status, [
        ("".join(part[:-1]), json.loads(part[-1].removeprefix("data: "))) for part in parts
    ]


@pytest.mark.parametrize("method", ["greedy", "sample"])
def test_the_pieces_join_to_the_answer(endpoint: Endpoint, method: str) -> None:
    body = {"rows": endpoint.rows, "decoding": {"method": method, "seed": 5}}
    _, known = endpoint.ask("POST", "/predict", body)
    status, found = events(endpoint, body)
    assert status == 200
    *pieces, (name, answer) = found
    assert name == "event: answer" and all(not name for name, _ in pieces)
    reasons = answer.pop("reasons")
    assert answer == known
    texts = [prediction["text"] for prediction in known["predictions"]]
    joined = [
        "".join(piece["text"] for _, piece in pieces if piece["row"] == row) for row in range(len(texts))
    ]
    assert joined == texts and len(pieces) > len(texts)
    assert {"end", "length"} >= set(reasons)
    for row, reason in enumerate(reasons):  # the bundle's texts have at most 12 tokens
        assert (sum(piece["row"] == row for _, piece in pieces) == 12) == (reason == "length")


def test_what_can_not_be_streamed_is_told(endpoint: Endpoint) -> None:
    status, [(_, answer)] = events(endpoint, {"rows": ["a"], "decoding": {"method": "beam"}})
    assert status == 400 and answer["error"]["field"] == "decoding.method"
    assert "token by token" in answer["message"]
    status, [(_, answer)] = events(endpoint, {"rows": [5]})
    assert status == 400 and "text, or null" in answer["message"]


def test_other_dialects_answer_as_ever(endpoint: Endpoint) -> None:
    path = f"/v1/models/{endpoint.name}:predict"
    status, answer = endpoint.ask("POST", path, {"instances": ["a"]}, **EVENTS)
    assert status == 200 and len(answer["predictions"]) == 1


def test_its_page_says_so(endpoint: Endpoint) -> None:
    _, page = endpoint.ask("GET", "/openapi.json")
    content = page["paths"]["/predict"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    assert content["text/event-stream"]["example"].count("event: answer") == 1


def test_who_goes_away_is_counted_and_holds_nothing(endpoint: Endpoint) -> None:
    body = json.dumps({"rows": endpoint.rows * 20}).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
            client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    until = time.monotonic() + 20
    while "tidegate_in_flight" not in (page := _metrics(endpoint)) or _gauge(page) > 0:
        assert time.monotonic() < until, page
        time.sleep(0.1)
    assert events(endpoint, {"rows": ["a"]})[0] == 200


def _metrics(endpoint: Endpoint) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _gauge(page: str) -> float:
    lines = [line for line in page.splitlines() if line.startswith("tidegate_in_flight")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
