"""The Open Inference Protocol, version 2, over HTTP: the protocol of KServe, Triton and MLServer.

https://github.com/kserve/open-inference-protocol, with the binary tensor extension of
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.serving.contract.descriptions import describe
from tidegate.serving.contract.tensors import TensorSpec, input_specs, output_specs
from tidegate.serving.dialects import DialectPage, EncodedResponse, ParsedRequest, ServedModel
from tidegate.serving.dialects.v2_outputs import OutputWriter, RequestedOutputs
from tidegate.serving.dialects.v2_request import InputReader
from tidegate.serving.errors import ContractError
from tidegate.serving.http.asgi import Headers
from tidegate.serving.http.json_body import decode, encode

JSON_LENGTH = b"inference-header-content-length"
EXPECTED = 'a JSON object {"inputs": [tensor, ...]}'
EXTENSIONS = ["binary_tensor_data"]
SERVER = {"name": "tidegate", "version": "1", "extensions": EXTENSIONS}


class V2:
    """The dialect of KServe's, Triton's and MLServer's clients."""

    label, prefix = "/v2/infer", "/v2"

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._inputs, self._outputs = InputReader(served.contract), OutputWriter(served)
        places = [f"/v2/models/{served.name}", f"/v2/models/{served.name}/versions/{served.version}"]
        self.predict_paths = tuple(f"{place}/infer" for place in places)
        self.overhead = len(json.dumps([_binary(spec) for spec in input_specs(served.contract)]))
        server, model = encode(SERVER), encode(self.metadata())
        self.pages: dict[str, DialectPage] = {
            "/v2": lambda _: (200, server),
            "/v2/health/live": lambda _: (200, b'{"live":true}'),
            "/v2/health/ready": _ready,
        }
        for place in places:
            self.pages[place] = lambda _: (200, model)
            self.pages[f"{place}/ready"] = self._model_ready

    def metadata(self) -> dict[str, Any]:
        """The response to `GET /v2/models/NAME`."""

        def listed(specs: Any) -> list[dict[str, Any]]:
            return [
                {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.shape]} for spec in specs
            ]

        contract = self._served.contract
        return {
            "name": self._served.name,
            "versions": [self._served.version],
            "platform": "tidegate",
            "inputs": listed(input_specs(contract)),
            "outputs": listed(output_specs(contract)),
        }

    def read(self, body: bytes, headers: Headers) -> ParsedRequest:
        """Parse a request: JSON, and binary tensors after it; raises ContractError."""
        length = headers.get(JSON_LENGTH)
        view = memoryview(body)
        size = len(body) if length is None else _length(length, len(body))
        content = decode(view[:size], "inputs", EXPECTED)
        if not isinstance(content, dict):
            raise ContractError("inputs", describe(content), EXPECTED, "send a JSON object")
        columns, rows = self._inputs.read(content, view[size:])
        return ParsedRequest(columns, rows, self._outputs.requested(content))

    def write(self, values: NDArray[np.float32], request: ParsedRequest) -> EncodedResponse:
        """The requested outputs, binary where that was requested."""
        requested: RequestedOutputs = request.response_format
        head, tail = self._outputs.write(values, requested)
        if not tail:
            return EncodedResponse(head)
        length = (JSON_LENGTH, str(len(head)).encode())
        return EncodedResponse(b"".join([head, *tail]), b"application/octet-stream", [length])

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """An error as the protocol defines it."""
        del kind, detail
        return json.dumps({"error": message}).encode()

    def _model_ready(self, ready: bool) -> tuple[int, bytes]:
        body = {"name": self._served.name, "ready": ready}
        return 200 if ready else 503, encode(body)


def make(served: ServedModel) -> V2:
    """The dialect for one release."""
    return V2(served)


def _binary(spec: TensorSpec) -> dict[str, Any]:
    """A binary tensor of one row, as a request names it."""
    shape, sized = [1, *spec.shape], {"binary_data_size": 8}
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "parameters": sized}


def _ready(ready: bool) -> tuple[int, bytes]:
    return (200, b'{"ready":true}') if ready else (503, b'{"ready":false}')


def _length(value: bytes, size: int) -> int:
    if value.isdigit() and int(value) <= size:
        return int(value)
    raise ContractError(
        "inputs",
        f"the header Inference-Header-Content-Length {value[:20].decode('latin-1')!r}",
        f"a number up to {size}, the body's length",
        "count the bytes of the JSON part",
    )
