"""Whatever the dialect, the number of rows and the company: each row gets the offline bundle's answer."""

import http.client
import json
import random
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.serving.contract.tensors import input_specs, to_bytes

from .conftest import Endpoint

CLIENTS = 16
TOLERANCE = 1e-6
NEAR = 1e-5  # of TensorFlow


def _tensors(
    endpoint: Endpoint, columns: dict[str, NDArray[Any]], binary: bool
) -> tuple[bytes, dict[str, str]]:
    inputs, tail = [], b""
    for spec in input_specs(endpoint.contract):
        column = columns[spec.name]
        tensor = {"name": spec.name, "shape": column.shape, "datatype": spec.datatype}
        if binary:
            raw = to_bytes(column)
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            tensor["data"] = column.tolist()
        inputs.append(tensor)
    head = json.dumps({"inputs": inputs}).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head))} if binary else {}


def _request(endpoint: Endpoint, dialect: str, chosen: list[int]) -> tuple[str, bytes, dict[str, str]]:
    rows = [endpoint.rows[place] for place in chosen]
    if dialect == "predict":
        return "/predict", json.dumps({"rows": rows}).encode(), {}
    if dialect == "tfserving":
        return f"/v1/models/{endpoint.name}:predict", json.dumps({"instances": rows}).encode(), {}
    body, headers = _tensors(endpoint, endpoint.columns(rows), dialect == "v2 binary")
    return f"/v2/models/{endpoint.name}/infer", body, headers


def _values(answer: dict[str, Any], rows: int) -> NDArray[Any]:
    if "outputs" in answer:
        return np.reshape(answer["outputs"][0]["data"], (rows, -1))
    found = answer["predictions"]
    if isinstance(found[0], dict):
        found = [prediction["probabilities"] for prediction in found]
    return np.reshape(found, (rows, -1))


class Client(threading.Thread):
    """Asks at random, over one connection, and keeps the largest difference."""

    def __init__(self, endpoint: Endpoint, seed: int, requests: int) -> None:
        super().__init__()
        self._endpoint, self._random, self._requests = endpoint, random.Random(seed), requests
        self.worst, self.failed, self.answered = 0.0, "", 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._endpoint.port, timeout=60)
        for _ in range(self._requests):
            self._one(connection)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection) -> None:
        rows = self._random.choice([1, 1, 64, self._random.randint(1, 64)])
        chosen = self._random.choices(range(len(self._endpoint.rows)), k=rows)
        dialect = self._random.choice(["predict", "tfserving", "v2", "v2 binary"])
        path, body, headers = _request(self._endpoint, dialect, chosen)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        if answer.status != 200:
            self.failed = f"{dialect}: {answer.status} {content}"
            return
        values, expected = _values(content, len(chosen)), self._endpoint.expected[chosen]
        self.worst = max(self.worst, float(np.abs(values - expected).max()))
        self.answered += 1


def _check(endpoint: Endpoint, requests: int) -> None:
    clients = [Client(endpoint, seed, requests // CLIENTS) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [client.failed for client in clients if client.failed] == []
    assert sum(client.answered for client in clients) == requests
    largest = max(1.0, float(np.abs(endpoint.expected).max()))
    tolerance = (TOLERANCE if endpoint.runtime == "onnx" else NEAR) * largest
    assert max(client.worst for client in clients) <= tolerance


# With the slow ones 10,000 for each of the five families and a user's model on each of the two runtimes.
MANY = [160, pytest.param(10_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("requests", MANY)
def test_every_row_gets_the_offline_answer(endpoint: Endpoint, requests: int) -> None:
    _check(endpoint, requests)


@pytest.mark.parametrize("requests", MANY)
def test_and_in_a_batch_with_others(batched: Endpoint, requests: int) -> None:
    _check(batched, requests)
