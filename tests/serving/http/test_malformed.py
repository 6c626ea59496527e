"""More than forty ways to be wrong: each gets a 4xx in its dialect's shape, and a good client notices nothing."""

import http.client
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import Running

IMAGE = [[0] * 8 for _ in range(8)]
FLAT = [0] * 64
DEEP = "[" * 900 + "1" + "]" * 900
TOO_DEEP = "[" * 200_000
V1, V2, OWN = "/v1/models/digits:predict", "/v2/models/digits/infer", "/predict"


def _tensor(**changes: Any) -> bytes:
    tensor: dict[str, Any] = {
        "name": "image",
        "shape": [1, 8, 8],
        "datatype": "UINT8",
        "data": FLAT,
    } | changes
    return json.dumps(
        {"inputs": [{name: value for name, value in tensor.items() if value is not ...}]}
    ).encode()


def _binary(raw: bytes, length: int | str | None = None, **changes: Any) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "image", "shape": [1, 8, 8], "datatype": "UINT8"} | changes
    tensor.setdefault("parameters", {"binary_data_size": len(raw)})
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head) if length is None else length)}


MALFORMED: dict[str, tuple[str, bytes] | tuple[str, bytes, dict[str, str]]] = {
    "empty body": (OWN, b""),
    "invalid UTF-8": (OWN, b'{"rows": ["\xff\xfe"]}'),
    "a byte order mark": (OWN, b"\xef\xbb\xbf{}"),
    "half a JSON": (OWN, b'{"rows": [[[0'),
    "900 deep": (OWN, f'{{"rows": [{DEEP}]}}'.encode()),
    "200,000 deep": (OWN, TOO_DEEP.encode()),
    "a row 900 deep in TF Serving": (V1, f'{{"instances": [{DEEP}]}}'.encode()),
    "data 900 deep in V2": (V2, _tensor(data="DEEP").replace(b'"DEEP"', DEEP.encode())),
    "NaN": (OWN, json.dumps({"rows": [[*IMAGE[:7], [float("nan")] * 8]]}).encode()),
    "Infinity": (V1, json.dumps({"instances": [[*IMAGE[:7], [float("inf")] * 8]]}).encode()),
    "1e999": (OWN, b'{"rows": [[[1e999]]]}'),
    "int64 overflow": (OWN, json.dumps({"rows": [[*IMAGE[:7], [2**63] * 8]]}).encode()),
    "a number of 5,000 digits": (OWN, b'{"rows": [' + b"9" * 5000 + b"]}"),
    "negative pixels": (V2, _tensor(data=[-1, *FLAT[1:]])),
    "fractions for whole numbers": (V2, _tensor(data=[0.5, *FLAT[1:]])),
    "texts for numbers": (V1, json.dumps({"instances": [[*IMAGE[:7], ["1"] * 8]]}).encode()),
    "null for numbers": (V1, json.dumps({"instances": [[*IMAGE[:7], [None] * 8]]}).encode()),
    "ragged rows": (V1, json.dumps({"instances": [[*IMAGE[:7], [0] * 7]]}).encode()),
    "a row of another shape": (V1, json.dumps({"instances": [IMAGE, IMAGE[:7]]}).encode()),
    "no rows": (V1, b'{"instances": []}'),
    "instances no list": (V1, b'{"instances": 3}'),
    "inputs of nobody": (V1, b'{"inputs": {"other": [1]}}'),
    "inputs null": (V1, b'{"inputs": null}'),
    "a signature that is not there": (V1, b'{"instances": [1], "signature_name": [1]}'),
    "bad base64": (V1, b'{"instances": [{"b64": "%%%"}]}'),
    "base64 of no image": (V1, b'{"instances": [{"b64": "AAAA"}]}'),
    "too many rows": (OWN, json.dumps({"rows": [IMAGE] * 101}).encode()),
    "no inputs": (V2, b"{}"),
    "inputs an object": (V2, b'{"inputs": {}}'),
    "an input without a name": (V2, _tensor(name=...)),
    "an unknown input": (V2, _tensor(name="imag")),
    "a name that is a list": (V2, _tensor(name=[1])),
    "no shape": (V2, _tensor(shape=...)),
    "shape zero": (V2, _tensor(shape=[0, 8, 8], data=[])),
    "a negative shape": (V2, _tensor(shape=[-1, 8, 8])),
    "a shape of fractions": (V2, _tensor(shape=[1.5, 8, 8])),
    "a huge shape": (V2, _tensor(shape=[2**31, 2**31, 2**31])),
    "a shape that is true": (V2, _tensor(shape=[True, 8, 8])),
    "an unknown datatype": (V2, _tensor(datatype="FLOAT")),
    "a datatype that is a list": (V2, _tensor(datatype=["UINT8"])),
    "no data": (V2, _tensor(data=...)),
    "too little data": (V2, _tensor(data=FLAT[:63])),
    "parameters a list": (V2, _tensor(parameters=[1])),
    "shared memory": (V2, _tensor(parameters={"shared_memory_region": "x"})),
    "an id that is a number": (V2, _tensor()[:-1] + b', "id": 3}'),
    "an output nobody has": (V2, _tensor()[:-1] + b', "outputs": [{"name": "x"}]}'),
    "outputs of numbers": (V2, _tensor()[:-1] + b', "outputs": [3]}'),
    "output parameters a number": (
        V2,
        _tensor()[:-1] + b', "outputs": [{"name": "label", "parameters": 3}]}',
    ),
    "binary: too few bytes": (V2, *_binary(bytes(63))),
    "binary: too many bytes": (V2, *_binary(bytes(65))),
    "binary: size larger than the body": (V2, *_binary(bytes(64), parameters={"binary_data_size": 10**9})),
    "binary: size negative": (V2, *_binary(bytes(64), parameters={"binary_data_size": -1})),
    "binary: bytes left over": (V2, *_binary(bytes(64), parameters={"binary_data_size": 32})),
    "binary: header longer than the body": (V2, *_binary(bytes(64), 10**9)),
    "binary: header negative": (V2, *_binary(bytes(64), -1)),
    "binary: header no number": (V2, *_binary(bytes(64), "many")),
    "binary: header cuts the JSON": (V2, *_binary(bytes(64), 10)),
    "binary: text lengths past the end": (
        V2,
        *_binary(struct.pack("<I", 2**31) + b"x", datatype="BYTES", shape=[1]),
    ),
    "gzip that is none": (OWN, b"x" * 20, {"Content-Encoding": "gzip"}),
    "an encoding nobody knows": (OWN, b"{}", {"Content-Encoding": "br"}),
}


class GoodClient(threading.Thread):
    """Asks all the while."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port, self.over = port, threading.Event()
        self.failures: list[str] = []
        self.answered = 0
        self.slowest = 0.0

    def __enter__(self) -> "GoodClient":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        body = json.dumps({"rows": [IMAGE]}).encode()
        while not self.over.wait(0.002):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            began = time.perf_counter()
            try:
                connection.request("POST", "/predict", body)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            connection.close()
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.answered += 1


@pytest.fixture(scope="module")
def server(serve: Callable[..., Running], images: Path) -> Running:
    return serve(images, "--max-rows", "100")


@pytest.fixture(scope="module", autouse=True)
def good_client(server: Running) -> Iterator[GoodClient]:
    with GoodClient(server.port) as client:
        yield client
    assert client.failures == []
    assert client.answered > 20


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(server: Running, case: str) -> None:
    path, body, headers = (*MALFORMED[case], {})[:3]
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    status, answered, content = server.ask("POST", path, body, **named)
    assert 400 <= status < 500, content
    assert answered["content-type"] == "application/json"
    answer = json.loads(content)
    message = answer["message"] if path == OWN else answer["error"]
    assert isinstance(message, str) and len(message) < 600
    assert list(answer) == (["error", "message"] if path == OWN else ["error"])


def test_there_are_forty() -> None:
    assert len(MALFORMED) >= 40


@pytest.mark.parametrize(
    "media", ["multipart/form-data", "multipart/form-data; boundary=x", "application/vnd.bentoml+x"]
)
def test_what_bentoml_cannot_read(server: Running, media: str) -> None:
    status, _, content = server.ask("POST", "/predict", b"--x\r\nnonsense", Content_Type=media)
    assert 400 <= status < 500
    assert json.loads(content)["error"]["type"] in ("invalid", "media_type", "contract")
