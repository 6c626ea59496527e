"""Inference over gRPC as a dialect: a serialised message in, a serialised message out."""

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from tidegate.serving.contract.tensors import LENGTH, to_bytes
from tidegate.serving.dialects import DialectPage, EncodedResponse, ParsedRequest, ServedModel
from tidegate.serving.dialects.v2_outputs import OutputWriter
from tidegate.serving.dialects.v2_request import InputReader
from tidegate.serving.errors import ContractError
from tidegate.serving.grpc_v2.messages import CLASSES, PACKED
from tidegate.serving.http.asgi import Headers

LABEL = "grpc"


class GrpcV2:
    """Inference over gRPC; outputs are always raw bytes, like Triton's."""

    label, prefix, overhead = LABEL, "/inference.", 0
    predict_paths: tuple[str, ...] = ()

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._inputs, self._outputs = InputReader(served.contract), OutputWriter(served)
        self.pages: dict[str, DialectPage] = {}

    def read(self, body: bytes, headers: Headers) -> ParsedRequest:
        """Parse a ModelInferRequest; raises ContractError."""
        del headers
        try:
            message = CLASSES["ModelInferRequest"].FromString(body)
        except DecodeError as error:
            raise ContractError(
                "inputs", "bytes that are not a message", "a ModelInferRequest", "encode it as one"
            ) from error
        self._check_model(message)
        raw = list(message.raw_input_contents)
        if raw and len(raw) != len(message.inputs):
            expected = f"{len(message.inputs)}, one per input, or none"
            raise ContractError("inputs", f"{len(raw)} raw_input_contents", expected, "send one per input")
        parts: list[memoryview | None] = [memoryview(part) for part in raw]
        parts = parts or [None] * len(message.inputs)
        tensors = [_tensor(tensor, part) for tensor, part in zip(message.inputs, parts, strict=True)]
        columns, rows = self._inputs.read_tensors(
            [tensor for tensor, _ in tensors], [part for _, part in tensors]
        )
        parameters = {entry.key: _value(entry.value) for entry in message.parameters}
        asked = [{"name": output.name, "parameters": {"binary_data": True}} for output in message.outputs]
        content: dict[str, Any] = {
            "id": message.id,
            "outputs": asked,
            "parameters": {**parameters, "binary_data_output": True},
        }
        return ParsedRequest(columns, rows, self._outputs.requested(content))

    def write(self, values: NDArray[np.float32], request: ParsedRequest) -> EncodedResponse:
        """A ModelInferResponse."""
        request_id, names = request.response_format
        served = self._served
        message = CLASSES["ModelInferResponse"](
            model_name=served.name, model_version=served.version, id=request_id or ""
        )
        for name, _ in names:
            tensor = self._outputs.tensor(name, values)
            message.outputs.add(name=name, datatype=self._outputs.datatype(name), shape=tensor.shape)
            message.raw_output_contents.append(to_bytes(tensor))
        return EncodedResponse(message.SerializeToString(), b"application/grpc")

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """The message of a gRPC status."""
        del kind, detail
        return message.encode()

    def _check_model(self, message: Any) -> None:
        served = self._served
        if message.model_name != served.name or message.model_version not in ("", served.version):
            received = f"the model {message.model_name[:60]!r} version {message.model_version[:20]!r}"
            expected = f"{served.name!r} version {served.version!r}"
            raise ContractError("model_name", received, expected, "correct it")


def _value(parameter: Any) -> Any:
    """A parameter's value: the field that is set, else the default of an unset one."""
    return parameter.string_param or parameter.int64_param or parameter.bool_param


def _tensor(tensor: Any, raw: memoryview | None) -> tuple[dict[str, Any], memoryview | None]:
    """A message's tensor as in JSON, and its raw bytes if it has them."""
    plain: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if raw is not None:
        return plain, raw
    packed = PACKED.get(tensor.datatype)
    if packed is None:
        expected = "raw_input_contents for it"
        raise ContractError(
            tensor.name, f"no contents for {tensor.datatype[:20]!r}", expected, "send raw contents"
        )
    values = list(getattr(tensor.contents, packed))
    if packed != "bytes_contents":
        return {**plain, "data": values}, None
    return plain, memoryview(b"".join(part for text in values for part in (LENGTH.pack(len(text)), text)))
