"""Many rows: in order, asked again where an endpoint is busy, in halves where it finds them too many."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tidegate.serving.errors import ContractError, ScoringError
from tidegate.serving.inference.bulk_scoring import EndpointScorer, ScoredRows, chunk_rows, score

MOST = 300


class Busy(BaseHTTPRequestHandler):
    """Answers every second request with 503, refuses many rows and the row -1."""

    protocol_version = "HTTP/1.1"
    asked = 0
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Answer twice the row."""
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["rows"]
        with Busy.lock:
            Busy.asked += 1
            busy = Busy.asked % 2
        if busy:
            self._answer(503, {"message": "busy", "error": {}})
        elif len(rows) > MOST:
            self._answer(413, {"message": "too many", "error": {}})
        elif -1 in rows:
            error = ContractError("x", "the number -1", "a positive one", "correct it", rows.index(-1))
            self._answer(400, {"message": str(error), "error": error.detail()})
        else:
            self._answer(200, {"model": "m", "release": 2, "predictions": [2 * row for row in rows]})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def scorer() -> Iterator[EndpointScorer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asking = EndpointScorer(f"http://127.0.0.1:{server.server_port}")
    yield asking
    asking.close()
    server.shutdown()
    server.server_close()


def _chunks(rows: list[int], size: int = 1000) -> Iterator[list[int]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def test_answers_come_in_order_from_a_busy_endpoint(scorer: EndpointScorer) -> None:
    scored = list(score(_chunks(list(range(4321))), scorer))
    assert [part.start for part in scored] == [0, 1000, 2000, 3000, 4000]
    assert [value for part in scored for value in part.predictions] == list(range(0, 8642, 2))
    assert {(part.model, part.release) for part in scored} == {("m", 2)}


@pytest.mark.parametrize("culprit", [0, 999, 1000, 1250, 2620])
def test_a_bad_row_is_named_by_its_place_among_all(scorer: EndpointScorer, culprit: int) -> None:
    rows = list(range(2700))
    rows[culprit] = -1
    first = culprit // 1000 * 1000
    with pytest.raises(ScoringError) as raised:
        list(score(_chunks(rows), scorer))
    assert f"rows {first} to {min(first + 999, 2699)} (counted from 0)" in str(raised.value)
    assert f"'x' of row {culprit}: received the number -1; expected" in str(raised.value)


def test_chunks_are_taken_no_faster_than_answers() -> None:
    taken = 0

    def chunks() -> Iterator[list[int]]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield [1]

    def answer(rows: list[Any]) -> ScoredRows:
        return ScoredRows("m", 1, rows)

    scored = score(chunks(), answer, 3)
    next(scored)
    assert taken <= 6
    assert len(list(scored)) == 99


def test_requests_stay_small_whatever_a_row_holds() -> None:
    sizes = {(): 1000, (28, 28): 637, (224, 224, 3): 3, (2000, 2000): 1}
    for shape, rows in sizes.items():
        assert chunk_rows({"inputs": [{"shape": list(shape)}]}) == rows
