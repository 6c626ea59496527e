"""`tritonclient.grpc`, unchanged, against every family and runtime."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from tidegate.serving.contract.tensors import input_specs, output_specs

from .conftest import Endpoint

CLOSE = 1e-5


@pytest.fixture(scope="session")
def client(endpoint: Endpoint) -> Iterator[Any]:
    made = triton.InferenceServerClient(f"127.0.0.1:{endpoint.grpc_port}")
    yield made
    made.close()


def _inputs(endpoint: Endpoint, rows: int) -> list[Any]:
    columns, inputs = endpoint.columns(endpoint.rows[:rows]), []
    for spec in input_specs(endpoint.contract):
        inputs.append(triton.InferInput(spec.name, list(columns[spec.name].shape), spec.datatype))
        inputs[-1].set_data_from_numpy(columns[spec.name])
    return inputs


def test_it_looks_around(endpoint: Endpoint, client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(endpoint.name)
    assert "binary_tensor_data" in client.get_server_metadata().extensions
    about = client.get_model_metadata(endpoint.name, "2")
    assert [entry.name for entry in about.inputs] == [entry.name for entry in endpoint.contract.inputs]
    assert list(about.outputs[0].shape) == [-1, endpoint.expected.shape[1]]
    with pytest.raises(InferenceServerException, match="there is no model 'other'"):
        client.get_model_metadata("other")


@pytest.mark.parametrize("rows", [1, 64])
def test_it_infers(endpoint: Endpoint, client: Any, rows: int) -> None:
    answer = client.infer(endpoint.name, _inputs(endpoint, rows), request_id="mine")
    assert answer.get_response().id == "mine"
    specs = output_specs(endpoint.contract)
    np.testing.assert_allclose(answer.as_numpy(specs[0].name), endpoint.expected[:rows], atol=CLOSE)
    if len(specs) > 1:
        labels = [
            label.decode() if isinstance(label, bytes) else label
            for label in answer.as_numpy("label").tolist()
        ]
        assert labels == [
            endpoint.contract.classes[place] for place in endpoint.expected[:rows].argmax(axis=1)
        ]


def test_typed_contents_and_chosen_outputs(endpoint: Endpoint, client: Any) -> None:
    """What clients send that do not know raw contents."""
    fields = {
        "UINT8": "uint_contents",
        "INT64": "int64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
    }
    request = service_pb2.ModelInferRequest(model_name=endpoint.name)
    columns = endpoint.columns(endpoint.rows[:2])
    for spec in input_specs(endpoint.contract):
        column = columns[spec.name]
        tensor = request.inputs.add(name=spec.name, datatype=spec.datatype, shape=column.shape)
        if spec.datatype == "BYTES":
            tensor.contents.bytes_contents.extend(text.encode() for text in column)
        else:
            getattr(tensor.contents, fields[spec.datatype]).extend(column.ravel().tolist())
    name = output_specs(endpoint.contract)[0].name
    request.outputs.add(name=name)
    answer = client._client_stub.ModelInfer(request)
    assert [output.name for output in answer.outputs] == [name]
    values = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(answer.outputs[0].shape)
    np.testing.assert_allclose(values, endpoint.expected[:2], atol=CLOSE)


def test_what_is_wrong_is_said(endpoint: Endpoint, client: Any) -> None:
    inputs = _inputs(endpoint, 1)
    with pytest.raises(InferenceServerException, match="the model 'other'"):
        client.infer("other", inputs)
    with pytest.raises(InferenceServerException, match="expected one of") as caught:
        client.infer(endpoint.name, inputs, outputs=[triton.InferRequestedOutput("other")])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    for asked in (True, False, "yes", 1):
        with pytest.raises(InferenceServerException, match=r"explain.*send POST /predict") as caught:
            client.infer(endpoint.name, inputs, parameters={"explain": asked})
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    client.infer(endpoint.name, inputs, parameters={"other": True})  # is ignored, as over HTTP
    inputs[0]._raw_content = b"123"
    with pytest.raises(InferenceServerException, match=repr(inputs[0].name())):
        client.infer(endpoint.name, inputs)
