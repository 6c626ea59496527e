"""A real server over real sockets: what it answers, what it refuses, how it is told."""

import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.forked import Server
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.handover import drain, server_argv, status, take_over, wait_ready
from tidegate.serving.errors import ClientError, PortTakenError, ServerError, ServerStartError
from tidegate.serving.inference.predictor import Predictor

Start = Callable[..., Server]
IMAGE = [[0] * 8 for _ in range(8)]


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def endpoint(
    request: pytest.FixtureRequest, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The status of a server that serves `images` as release 3."""
    control = tmp_path_factory.mktemp("server") / "control"
    process = Server(server_argv(images, "digits", 3, control, processes=request.param))
    try:
        yield wait_ready(control, 60, lambda: process.poll() is None)
    finally:
        process.kill()
        process.wait(10)


def _ask(
    endpoint: dict[str, Any], method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint["private_port"], timeout=30)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_predictions_are_those_of_the_offline_bundle(endpoint: dict[str, Any], images: Path) -> None:
    rows = np.random.default_rng(5).integers(0, 17, (64, 8, 8)).tolist()
    with Client(f"http://127.0.0.1:{endpoint['private_port']}") as client:
        (answer,) = client.responses(rows)
        assert (answer["model"], answer["release"]) == ("digits", 3)
        offline: list[Any] = Predictor.of(images).predict_rows(rows)
        for online, expected in zip(client.predict(rows), offline, strict=True):
            assert online["label"] == expected["label"]
            np.testing.assert_allclose(online["probabilities"], expected["probabilities"], atol=1e-6)
        assert client.predict([{"image": rows[0]}])[0]["label"] == offline[0]["label"]
        assert client.contract()["classes"] == list(range(10))
        assert client.ready()


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/contract", "application/json"),
        ("/livez", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain"),
        ("/openapi.json", "application/json"),
        ("/docs.json", "application/json"),
        ("/", "text/html"),
    ],
)
def test_pages(endpoint: dict[str, Any], path: str, media: str) -> None:
    code, headers, body = _ask(endpoint, "GET", path)
    assert code == 200
    assert headers["content-type"].startswith(media)
    assert body
    if path == "/openapi.json":
        assert "/predict" in json.loads(body)["paths"]


ROW = {"image": IMAGE}
BAD = [
    (b"", 400, "rows"),
    (b"not json", 400, "rows"),
    (b"\xff\xfe\x00", 400, "rows"),
    (b"[" * 50_000, 400, "rows"),
    (b"[]", 400, "rows"),
    (b"null", 400, "rows"),
    (b"{}", 400, "rows"),
    (b'{"rows": []}', 400, "rows"),
    (b'{"rows": {}}', 400, "rows"),
    (b'{"rows": null}', 400, "rows"),
    (b'{"rows": [{}]}', 400, "image"),
    (b'{"rows": [null]}', 400, "image"),
    (b'{"rows": ["text"]}', 400, "image"),
    (b'{"rows": [1]}', 400, "image"),
    (b'{"rows": [[1, 2]]}', 400, "image"),
    (json.dumps({"rows": [ROW], "more": 1}).encode(), 400, "more"),
    (json.dumps({"rows": [{"imag": IMAGE}]}).encode(), 400, "imag"),
    (json.dumps({"rows": [{**ROW, "extra": 1}]}).encode(), 400, "extra"),
    (json.dumps({"rows": [{**ROW, "\ud800": 1}]}).encode(), 400, "\ud800"),
    (json.dumps({"rows": [IMAGE[:7]]}).encode(), 400, "image"),
    (json.dumps({"rows": [[*IMAGE[:7], [float("nan")] * 8]]}).encode(), 400, "image"),
    (json.dumps({"rows": [[*IMAGE[:7], [256] * 8]]}).encode(), 400, "image"),
    (json.dumps({"rows": [[*IMAGE[:7], ["1"] * 8]]}).encode(), 400, "image"),
    (json.dumps({"rows": [[*IMAGE[:7], [2**80] * 8]]}).encode(), 400, "image"),
]


@pytest.mark.parametrize(("body", "code", "field"), BAD)
def test_bad_requests_name_the_field(endpoint: dict[str, Any], body: bytes, code: int, field: str) -> None:
    answered, headers, content = _ask(endpoint, "POST", "/predict", body)
    answer = json.loads(content)
    assert (answered, answer["error"]["field"]) == (code, field)
    assert set(answer["error"]) == {"type", "field", "received", "expected", "fix", "row"}
    assert answer["error"]["expected"] in answer["message"]
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "code", "kind"),
    [
        ("GET", "/predict", 405, "method_not_allowed"),
        ("POST", "/contract", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/docs.json", 405, "method_not_allowed"),
    ],
)
def test_other_errors_have_the_same_shape(
    endpoint: dict[str, Any], method: str, path: str, code: int, kind: str
) -> None:
    answered, _, content = _ask(endpoint, method, path)
    assert (answered, json.loads(content)["error"]["type"]) == (code, kind)


def test_a_body_announced_too_large_is_refused_unread(endpoint: dict[str, Any]) -> None:
    with socket.create_connection(("127.0.0.1", endpoint["private_port"]), timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert b'"too_large"' in answer


def test_a_body_sent_too_large_gets_its_answer(endpoint: dict[str, Any]) -> None:
    answered, _, content = _ask(endpoint, "POST", "/predict", bytes((64 << 20) + 1))
    assert (answered, json.loads(content)["error"]["type"]) == (413, "too_large")


def test_bentomls_own_media_types_get_bentomls_answers(endpoint: dict[str, Any]) -> None:
    form = b'--x\r\ncontent-disposition: form-data; name="rows"\r\n\r\n' + json.dumps([IMAGE]).encode()
    code, _, content = _ask(
        endpoint, "POST", "/predict", form + b"\r\n--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert code == 200, content
    assert json.loads(content)["model"] == "digits"
    code, _, content = _ask(endpoint, "POST", "/predict", b"x", content_type="application/vnd.bentoml+pickle")
    assert code == 415
    assert json.loads(content)["error"]["type"] == "media_type"


def test_requests_are_counted_by_release(endpoint: dict[str, Any]) -> None:
    _ask(endpoint, "POST", "/predict", json.dumps({"rows": [IMAGE, IMAGE]}).encode())
    page = _ask(endpoint, "GET", "/metrics")[2].decode()
    assert 'tidegate_requests_total{code="200",endpoint="digits",release="3",route="/predict"}' in page
    assert 'tidegate_request_seconds_count{endpoint="digits",release="3"}' in page
    assert 'tidegate_predicted_rows_total{endpoint="digits",release="3"}' in page


def test_no_training_library_is_mapped(endpoint: dict[str, Any]) -> None:
    maps = Path(f"/proc/{endpoint['pid']}/maps").read_text()
    assert "onnxruntime" in maps
    for library in ("tensorflow", "keras", "pandas", "sklearn", "mlflow", "matplotlib"):
        assert f"/{library}/" not in maps


def test_the_client_says_what_went_wrong(endpoint: dict[str, Any], free_port: int) -> None:
    with Client(f"http://127.0.0.1:{endpoint['private_port']}") as client:
        with pytest.raises(ClientError, match="answered 400: 'image' of row 0") as caught:
            client.predict([[1]])
        assert caught.value.status == 400
        assert caught.value.detail is not None
        assert caught.value.detail["field"] == "image"
    with Client(f"http://127.0.0.1:{free_port}") as client:
        assert not client.ready()
        with pytest.raises(ClientError, match="expected a running endpoint; see `tidegate endpoints`"):
            client.contract()


def test_a_port_that_is_taken(images: Path, start: Start, tmp_path: Path, free_port: int) -> None:
    start(images, "digits", 1, tmp_path / "a")
    words = f"port {free_port} .* choose another port with --port"
    with socket.create_server(("127.0.0.1", free_port)), pytest.raises(PortTakenError, match=words):
        take_over(tmp_path / "a", free_port)
    assert take_over(tmp_path / "a", free_port)["port"] == free_port
    assert take_over(tmp_path / "a", free_port)["port"] == free_port
    with pytest.raises(ServerError, match=f"it already serves port {free_port}"):
        take_over(tmp_path / "a", free_port + 1)


def test_a_damaged_bundle_ends_the_server_with_one_line(
    images: Path, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]], free_port: int
) -> None:
    ended = run_python("-m", "tidegate.serving.server", "--bundle", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{tmp_path} is not a bundle")
    assert len(ended.stderr.splitlines()) == 1
    with socket.create_server(("127.0.0.1", free_port)):
        ended = run_python("-m", "tidegate.serving.server", "--bundle", str(images), "--port", str(free_port))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert f"port {free_port} of 127.0.0.1 is in use" in ended.stderr
    with pytest.raises(ServerStartError, match="ended before it was ready"):
        wait_ready(tmp_path / "control", 5, lambda: False)


def test_the_control_socket_may_lie_deep(images: Path, start: Start, tmp_path: Path) -> None:
    control = tmp_path / ("deep" * 20) / ("deeper" * 20) / "control"
    process = start(images, "digits", 1, control)
    answer = status(control)
    assert answer is not None
    assert answer["pid"] == process.pid
    assert answer["release"] == 1
    assert drain(control, 2)
    assert process.wait(15) == 0
    assert status(control) is None
    assert not control.exists()
    assert not drain(control)


def test_sigterm_ends_it_cleanly(images: Path, start: Start, tmp_path: Path) -> None:
    process = start(images, "digits", 1, tmp_path / "a")
    process.terminate()
    assert process.wait(15) == 0


def test_sample_rows_of_the_bundle_are_accepted(endpoint: dict[str, Any], images: Path) -> None:
    body = json.dumps({"rows": open_bundle(images).sample}).encode()
    assert _ask(endpoint, "POST", "/predict", body)[0] == 200


def test_a_stream_of_a_model_that_writes_no_texts_is_refused(endpoint: dict[str, Any]) -> None:
    body = json.dumps({"rows": [IMAGE]}).encode()
    status, _, answer = _ask(endpoint, "POST", "/predict", body, Accept="text/event-stream")
    assert status == 406 and "this model writes no texts" in json.loads(answer)["message"]
