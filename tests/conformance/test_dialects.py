"""Clients that nobody here wrote, and bodies as others' documents have them, against every family and runtime."""

import base64
import gzip
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.serving.contract.tensors import input_specs, output_specs

from .conftest import Endpoint, triton_http

CLOSE = 1e-5


def _outputs(endpoint: Endpoint) -> list[str]:
    return [spec.name for spec in output_specs(endpoint.contract)]


def _inputs(endpoint: Endpoint, binary: bool, rows: int) -> list[Any]:
    columns, inputs = endpoint.columns(endpoint.rows[:rows]), []
    for spec in input_specs(endpoint.contract):
        column = columns[spec.name]
        inputs.append(triton_http().InferInput(spec.name, list(column.shape), spec.datatype))
        inputs[-1].set_data_from_numpy(column, binary_data=binary)
    return inputs


@pytest.fixture(scope="session")
def client(endpoint: Endpoint) -> Any:
    made = triton_http().InferenceServerClient(endpoint.url)
    yield made
    made.close()


def _labels(endpoint: Endpoint, expected: NDArray[np.float32]) -> list[Any]:
    return [endpoint.contract.classes[place] for place in expected.argmax(axis=1).tolist()]


@pytest.mark.parametrize("binary_output", [True, False])
@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("rows", [1, 64])
def test_tritonclient_infers(
    endpoint: Endpoint, client: Any, binary_input: bool, binary_output: bool, rows: int
) -> None:
    outputs = [
        triton_http().InferRequestedOutput(name, binary_data=binary_output) for name in _outputs(endpoint)
    ]
    answer = client.infer(
        endpoint.name,
        _inputs(endpoint, binary_input, rows),
        outputs=outputs,
        request_id="mine",
        model_version="2",
    )
    about = answer.get_response()
    assert (about["model_name"], about["model_version"], about["id"]) == (endpoint.name, "2", "mine")
    values = answer.as_numpy(outputs[0].name())
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, endpoint.expected[:rows], atol=CLOSE)
    if len(outputs) > 1:
        labels = answer.as_numpy("label").tolist()
        plain = [label.decode() if isinstance(label, bytes) else label for label in labels]
        assert plain == _labels(endpoint, endpoint.expected[:rows])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_asks_for_nothing_and_compresses(
    endpoint: Endpoint, client: Any, algorithm: str
) -> None:
    answer = client.infer(endpoint.name, _inputs(endpoint, True, 3), request_compression_algorithm=algorithm)
    np.testing.assert_allclose(answer.as_numpy(_outputs(endpoint)[0]), endpoint.expected[:3], atol=CLOSE)


def test_tritonclient_looks_around(endpoint: Endpoint, client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(endpoint.name) and client.is_model_ready(endpoint.name, "2")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata(endpoint.name)
    assert [entry["name"] for entry in about["inputs"]] == [entry.name for entry in endpoint.contract.inputs]
    assert about["outputs"][0]["shape"] == [-1, endpoint.expected.shape[1]]
    assert about["versions"] == ["2"]
    with pytest.raises(Exception, match="there is no such page"):
        client.get_model_metadata("another")


def test_v2_json_nested_and_flat(endpoint: Endpoint) -> None:
    columns = endpoint.columns(endpoint.rows[:2])
    for flat in (True, False):
        inputs = []
        for spec in input_specs(endpoint.contract):
            column = columns[spec.name]
            data = column.ravel().tolist() if flat else column.tolist()
            inputs.append({"name": spec.name, "shape": column.shape, "datatype": spec.datatype, "data": data})
        status, answer = endpoint.ask("POST", f"/v2/models/{endpoint.name}/infer", {"inputs": inputs})
        assert status == 200, answer
        first = answer["outputs"][0]
        assert first["shape"] == [2, endpoint.expected.shape[1]]
        np.testing.assert_allclose(
            np.reshape(first["data"], first["shape"]), endpoint.expected[:2], atol=CLOSE
        )


def test_tf_serving_rows_and_columns(endpoint: Endpoint) -> None:
    path = f"/v1/models/{endpoint.name}:predict"
    objects = [
        row if isinstance(row, dict) else {endpoint.contract.inputs[0].name: row} for row in endpoint.rows
    ]
    named = {entry.name: [row[entry.name] for row in objects] for entry in endpoint.contract.inputs}
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"instances": endpoint.rows}, "predictions"),
        ({"instances": objects, "signature_name": "serving_default"}, "predictions"),
        ({"inputs": named}, "outputs"),
    ]
    if len(named) == 1:
        bodies.append(({"inputs": endpoint.rows, "signature_name": ""}, "outputs"))
    for body, key in bodies:
        status, answer = endpoint.ask("POST", path, body)
        assert status == 200, answer
        assert list(answer) == [key]
        np.testing.assert_allclose(answer[key], endpoint.expected, atol=CLOSE)
    assert endpoint.ask("POST", f"/v1/models/{endpoint.name}/versions/2:predict", bodies[0][0])[0] == 200


def test_tf_serving_pages_and_errors(endpoint: Endpoint) -> None:
    status, answer = endpoint.ask("GET", f"/v1/models/{endpoint.name}")
    assert status == 200
    assert answer["model_version_status"] == [
        {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    _, answer = endpoint.ask("GET", f"/v1/models/{endpoint.name}/metadata")
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert list(signature["inputs"]) == [entry.name for entry in endpoint.contract.inputs]
    assert signature["method_name"] == "tensorflow/serving/predict"
    for path, body, code in (
        ("/v1/models/another:predict", {"instances": [1]}, 404),
        (f"/v1/models/{endpoint.name}:predict", {"instances": [1], "signature_name": "other"}, 400),
        (f"/v1/models/{endpoint.name}:predict", {"instances": [], "inputs": []}, 400),
        (f"/v1/models/{endpoint.name}:predict", [], 400),
    ):
        status, answer = endpoint.ask("POST", path, body)
        assert (status, list(answer)) == (code, ["error"])


def test_b64_and_single_numbers_in_lists(endpoint: Endpoint) -> None:
    """What clients of TensorFlow models send: bytes as b64, a single number as `[number]`."""

    def dressed(row: Any) -> Any:
        if isinstance(row, dict):
            return {name: [value] if not isinstance(value, str) else value for name, value in row.items()}
        return {"b64": base64.b64encode(row.encode()).decode()} if isinstance(row, str) else row

    rows = [dressed(row) for row in endpoint.rows]
    status, answer = endpoint.ask("POST", f"/v1/models/{endpoint.name}:predict", {"instances": rows})
    assert status == 200, answer
    np.testing.assert_allclose(answer["predictions"], endpoint.expected, atol=CLOSE)


def test_a_compressed_predict(endpoint: Endpoint) -> None:
    import json

    body = gzip.compress(json.dumps({"rows": endpoint.rows}).encode())
    status, answer = endpoint.ask("POST", "/predict", body, **{"Content-Encoding": "gzip"})
    assert status == 200
    assert len(answer["predictions"]) == len(endpoint.rows)
