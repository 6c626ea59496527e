"""Sockets that misbehave, more load than there is room for, and the end of the process: good clients are served."""

import contextlib
import http.client
import json
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.serving.conftest import Running
from tests.serving.http.test_malformed import GoodClient
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Parity

Serve = Callable[..., Running]
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
BODY = json.dumps({"rows": [[[0] * 8 for _ in range(8)]]}).encode()
SOCKETS = 200


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def _answer(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


PROCESSES = pytest.mark.parametrize("processes", ["1", "2"], ids=["one process", "two processes"])


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two processes"])
def server(request: pytest.FixtureRequest, serve: Serve, images: Path) -> Running:
    """An endpoint with room for 32 requests at once, as that of a slow model on a slow machine."""
    limits = ("--receive-seconds", "1.5", "--max-body", "100000", "--queue-seconds", "1e-6")
    return serve(images, *limits, "--processes", request.param)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /pre",
        HEAD,
        HEAD + b"content-length: 100\r\n\r\n",
        HEAD + b"content-length: 100\r\n\r\n" + BODY[:50],
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["nothing", "half a line", "half the headers", "no body", "half the body", "half a chunk"],
)
def test_slow_clients_are_sent_away(server: Running, sent: bytes) -> None:
    """Two hundred of them at once, each kind in turn."""
    with GoodClient(server.port) as good, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_connect(server.port)) for _ in range(SOCKETS)]
        for connection in slow:
            connection.sendall(sent)
        answers = Counter(_answer(connection)[:12] for connection in slow)
    assert answers == {b"HTTP/1.1 408": SOCKETS}
    assert good.failures == []
    assert good.answered > 5


GIGABYTE = 1 << 30


def _pour(connection: socket.socket, content: bytes, chunked: bool) -> int:
    """Send a gigabyte, as far as it is taken; the bytes that were sent."""
    part = b"%x\r\n" % len(content) + content + b"\r\n" if chunked else content
    sent = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < GIGABYTE:
            connection.sendall(part)
            sent += len(content)
    return sent


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "not announced"])
def test_a_body_of_a_gigabyte_is_refused_and_never_held(serve: Serve, images: Path, chunked: bool) -> None:
    """At the limit as it is set when nobody sets it, 64 MiB."""
    server = serve(images)
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    size = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % GIGABYTE
    with GoodClient(server.port) as good, _connect(server.port) as connection:
        connection.sendall(HEAD + size + b"\r\n\r\n")
        sent = _pour(connection, bytes(1 << 20), chunked)
        with contextlib.suppress(ConnectionResetError):
            assert _answer(connection).startswith(b"HTTP/1.1 413 ")
    assert sent < GIGABYTE
    assert good.failures == []
    assert process.memory_info().rss - before < 200e6  # the body's first 64 MiB, when it was not announced
    assert 'tidegate_errors_total{endpoint="digits",release="3",type="too_large"} 1.0' in (
        server.ask("GET", "/metrics")[2].decode()
    )
    assert (
        'tidegate_body_bytes{endpoint="digits",release="3"} 0.0' in server.ask("GET", "/metrics")[2].decode()
    )


def test_a_body_that_comes_after_its_answer_takes_no_place(server: Running) -> None:
    """On more connections than there is room for at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(_connect(server.port))
            connection.sendall(b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
            connection.sendall(b"0123456789")
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_half_closed_and_vanishing_clients(server: Running) -> None:
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    with GoodClient(server.port) as good:
        for number in range(100):
            with _connect(server.port) as connection:
                connection.sendall(whole if number % 2 else whole[:-10])
                connection.shutdown(socket.SHUT_WR)
                if number % 3 == 0:
                    _answer(connection)
    assert good.failures == []
    assert server.ask("GET", "/livez")[0] == 200


def test_what_is_no_http_gets_json(server: Running) -> None:
    with _connect(server.port) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        answer = _answer(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid"


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    with _connect(server.port) as connection:
        connection.sendall(whole * 20 + b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = _answer(connection)
    assert answer.count(b"HTTP/1.1 200 OK") == 21
    assert answer.endswith(b'{"live":true}')


def test_short_and_long_ways_keep_their_order(server: Running) -> None:
    """Small requests are answered without ASGI; on one connection nothing overtakes, also where a body comes late."""

    def asked(number: int) -> bytes:
        path = "/predict" if number % 2 else "/predict?x=1"  # with a query it goes the long way
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-request-id: n{number}\r\n".encode()
        if number % 5 == 0:
            return head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        return head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY

    # Fewer than the 32 that an endpoint always lets wait: on a busy machine all of them may be there at once.
    stream = b"".join(map(asked, range(30))) + b"GET /livez HTTP/1.0\r\n\r\n"
    with _connect(server.port) as connection:
        for begin in range(0, len(stream), 777):
            connection.sendall(stream[begin : begin + 777])
            time.sleep(0.001)
        answer = _answer(connection)
    assert re.findall(rb"x-request-id: n(\d+)", answer) == [b"%d" % number for number in range(30)]
    assert answer.count(b"HTTP/1.1 200 OK") == 31


def test_an_old_client_is_answered_and_let_go(server: Running) -> None:
    with _connect(server.port) as connection:
        connection.sendall(b"POST /predict HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
        answer = _answer(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


def test_head_and_continue(server: Running) -> None:
    status, headers, body = server.ask("HEAD", "/contract")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 10
    with _connect(server.port) as connection:
        connection.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose model takes some milliseconds a row."""
    folder = tmp_path_factory.mktemp("heavy")
    columns = {"x": np.zeros((4, 8), np.float32)}
    schema = Schema(
        inputs=(Field(name="x", kind="numeric", dtype="float32", shape=(8,)),),
        target=Target(names=("y",), task="regression"),
    )
    transforms = Transforms.fit(
        schema, {"x": np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)}
    )
    weights = {"first": (8, 3072), "wide": (3072, 3072), "last": (3072, 1)}
    nodes, last = [], "x"
    for name in ("first", "wide", "wide", "wide", "last"):
        nodes.append(helper.make_node("MatMul", [last, name], [f"out_{len(nodes)}"]))
        last = f"out_{len(nodes) - 1}"
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.full(shape, 1e-4, np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx"
    )
    write_bundle(
        folder / "bundle",
        name="heavy",
        run="r",
        trial="t",
        schema=schema,
        transforms=transforms,
        model=folder / "m.onnx",
        runtime="onnx",
        parity=Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1),
        sample=columns["x"][:2].tolist(),
        versions={},
    )
    return folder / "bundle"


@PROCESSES
def test_more_than_there_is_room_for(serve: Serve, heavy: Path, processes: str) -> None:
    """Over a hundred clients, each as fast as it can, a queue of 50 ms: some are served, others told when to come."""
    server = serve(heavy, "--queue-seconds", "0.05", "--processes", processes, name="heavy")
    body = json.dumps({"rows": [[0.0] * 8] * 4}).encode()
    seen: Counter[int] = Counter()
    wrong: list[str] = []
    until = time.monotonic() + 3

    def client() -> None:
        while time.monotonic() < until:
            status, headers, _ = server.ask("POST", "/predict", body)
            seen[status] += 1
            if status == 503 and headers.get("retry-after") != "1":
                wrong.append(str(headers))

    clients = [threading.Thread(target=client) for _ in range(128)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert set(seen) == {200, 503}
    assert wrong == []
    time.sleep(0.3)  # one process knows of the other's last requests
    page = server.ask("GET", "/metrics")[2].decode()
    assert 'tidegate_errors_total{endpoint="heavy",release="3",type="overloaded"}' in page
    assert 'tidegate_in_flight{endpoint="heavy",release="3"} 0.0' in page
    assert 'tidegate_queued{endpoint="heavy",release="3"} 0.0' in page
    assert 'tidegate_body_bytes{endpoint="heavy",release="3"} 0.0' in page
    assert 'tidegate_prediction_value_bucket{endpoint="heavy",le="0.0",release="3"}' in page


def test_a_request_that_takes_too_long_is_given_up(serve: Serve, heavy: Path) -> None:
    server = serve(heavy, "--deadline-seconds", "0.001", name="heavy")
    body = json.dumps({"instances": [[0.0] * 8] * 64}).encode()
    status, _, content = server.ask("POST", "/v1/models/heavy:predict", body)
    assert status == 504
    assert "no prediction within 0.001 s" in json.loads(content)["error"]


@PROCESSES
def test_sigterm_under_load_fails_no_request(serve: Serve, images: Path, processes: str) -> None:
    server = serve(images, "--drain-delay", "1", "--processes", processes)
    failures: list[str] = []
    stop = threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        while not stop.is_set():
            try:
                connection.request("POST", "/predict", BODY)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(str(answer.status))
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    while server.ask("GET", "/readyz")[0] == 200:
        time.sleep(0.01)
    status, headers, _ = server.ask("POST", "/predict", BODY)
    assert (status, headers["connection"]) == (200, "close")
    assert server.ask("GET", "/v2/health/ready")[0] == 503
    stop.set()
    for thread in clients:
        thread.join()
    assert failures == []
    assert server.process.wait(20) == 0


def test_a_killed_process_is_gone_at_once(serve: Serve, images: Path) -> None:
    server = serve(images)
    server.process.kill()
    assert server.process.wait(10) == -signal.SIGKILL
    with pytest.raises(OSError):
        _connect(server.port)
