"""TensorFlow Serving's REST API: `POST /v1/models/NAME:predict`, status and metadata.

The formats are those of https://www.tensorflow.org/tfx/serving/api_rest: row format `instances`, column format
`inputs`, `{"b64": ...}` for bytes, `{"error": ...}` for every error.
"""

import base64
import binascii
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of
from tidegate.models.preprocessing.schema import Field
from tidegate.serving.contract.descriptions import describe
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.contract.tensors import AnswerTensors, box_tensors, output_specs
from tidegate.serving.dialects import (
    DialectPage,
    EncodedResponse,
    ParsedRequest,
    ServedModel,
    explain_unsupported,
)
from tidegate.serving.errors import ContractError
from tidegate.serving.http.asgi import Headers
from tidegate.serving.http.json_body import decode, encode

SIGNATURE = "serving_default"
DTYPES = {"bool": "DT_BOOL", "float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE"}
OUTPUTS = {
    "BOOL": "DT_BOOL",
    "BYTES": "DT_STRING",
    "FP32": "DT_FLOAT",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
}
EXPECTED = 'an object {"instances": [...]} or {"inputs": ...}'


class TFServing:
    """The dialect of TensorFlow Serving's clients."""

    label, prefix, overhead = "/v1/predict", "/v1/", 0

    def __init__(self, served: ServedModel) -> None:
        self._served, self._contract = served, served.contract
        self._reader, self._answers = RequestReader(served.contract), AnswerTensors(served.contract)
        several = served.contract.detection is not None or served.contract.outputs is not None
        contract = served.contract
        named = contract.task in ("tagging", "anomaly") or bool(contract.thresholds or contract.values)
        self._several = several or named
        self._fields = {field.name: field for field in served.contract.schema_.inputs}
        places = [f"/v1/models/{served.name}", f"/v1/models/{served.name}/versions/{served.version}"]
        self.predict_paths = tuple(f"{place}:predict" for place in places)
        self.pages: dict[str, DialectPage] = {}
        metadata = encode(self._metadata())
        for place in places:
            self.pages[place] = self._status
            self.pages[f"{place}/metadata"] = lambda _: (200, metadata)

    def read(self, body: bytes, headers: Headers) -> ParsedRequest:
        """Parse a request in row or column format; raises ContractError."""
        del headers
        content = decode(body, "instances", EXPECTED)
        if not isinstance(content, dict):
            raise ContractError("instances", describe(content), EXPECTED, "send a JSON object")
        if "explain" in content:
            raise explain_unsupported(content["explain"])
        signature = content.get("signature_name")
        if signature not in (None, "", SIGNATURE):
            raise ContractError("signature_name", describe(signature), f'"{SIGNATURE}"', "leave it out")
        if ("instances" in content) == ("inputs" in content):
            received = "both" if "inputs" in content else "neither"
            raise ContractError(
                "instances", f"{received} of instances and inputs", EXPECTED, "send one of them"
            )
        if "instances" in content:
            columns = self._from_rows(content["instances"])
        else:
            columns = self._from_columns(content["inputs"])
        return ParsedRequest(columns, rows_of(columns), "instances" in content)

    def write(self, values: NDArray[np.float32], request: ParsedRequest) -> EncodedResponse:
        """`{"predictions": [[...], ...]}`, for the column format `{"outputs": [[...], ...]}`; one text per row.

        Boxes, anomalies and sets of labels with thresholds of their own, like every model of several outputs: an object
        per row, or an object of columns, see `box_tensors`.
        """
        outputs: Any = values if self._contract.decoding is None else values[:, 1].tolist()
        if self._contract.shape is not None and not self._several:
            (outputs,) = self._answers(values).values()
        if self._several:
            found = self._contract.detection is not None
            tensors = box_tensors(self._contract, values) if found else self._answers(values)
            outputs = {name: tensor.tolist() for name, tensor in tensors.items()}
            if request.response_format:
                rows = zip(*outputs.values(), strict=True)
                outputs = [dict(zip(outputs, row, strict=True)) for row in rows]
        return EncodedResponse(encode({"predictions" if request.response_format else "outputs": outputs}))

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """An error as TensorFlow Serving writes it."""
        del kind, detail
        return json.dumps({"error": message}).encode()

    def _from_rows(self, rows: Any) -> Columns:
        try:
            return self._reader.parse_rows(rows)
        except ContractError as error:
            if not isinstance(rows, list) or not rows:
                raise ContractError("instances", error.received, error.expected, error.fix) from None
            plain = [self._plain_row(row) for row in rows]
            if plain == rows:
                raise
        return self._reader.parse_rows(plain)

    def _plain_row(self, row: Any) -> Any:
        if isinstance(row, dict) and set(row) <= set(self._fields):
            return {name: _plain(self._fields[name], value) for name, value in row.items()}
        if len(self._fields) == 1:
            return _plain(next(iter(self._fields.values())), row)
        return row

    def _from_columns(self, inputs: Any) -> Columns:
        if len(self._fields) == 1 and not (isinstance(inputs, dict) and set(inputs) == set(self._fields)):
            inputs = {next(iter(self._fields)): inputs}
        try:
            return self._reader.parse_columns(inputs)
        except ContractError:
            if not isinstance(inputs, dict) or not all(
                isinstance(column, list) for column in inputs.values()
            ):
                raise
            plain = {
                name: [_plain(self._fields[name], value) for value in column]
                if name in self._fields
                else column
                for name, column in inputs.items()
            }
            if plain == inputs:
                raise
        return self._reader.parse_columns(plain)

    def _status(self, ready: bool) -> tuple[int, bytes]:
        state = "AVAILABLE" if ready else "UNLOADING"
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": self._served.version, "state": state, "status": status}
        return 200, encode({"model_version_status": [version]})

    def _metadata(self) -> dict[str, Any]:
        inputs = {
            field.name: _tensor(f"{SIGNATURE}_{field.name}:0", _dtype(field.dtype), field.free_shape)
            for field in self._fields.values()
        }
        specs = output_specs(self._contract)
        outputs = {
            spec.name: _tensor(f"StatefulPartitionedCall:{place}", OUTPUTS[spec.datatype], spec.shape)
            for place, spec in enumerate(specs if self._several else specs[:1])
        }
        signature = {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict"}
        model = {"name": self._served.name, "signature_name": "", "version": self._served.version}
        return {
            "model_spec": model,
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        }


def make(served: ServedModel) -> TFServing:
    """The dialect for one release."""
    return TFServing(served)


def _plain(field: Field, value: Any) -> Any:
    """A value as the contract has it: this dialect also allows a text as `{"b64": ...}`, a number as `[number]`."""
    if isinstance(value, list) and len(value) == 1 and not field.shape:
        value = value[0]
    if field.kind == "image" or not isinstance(value, dict) or set(value) != {"b64"}:
        return value
    try:
        raw = base64.b64decode(value["b64"], validate=True)
        return raw.decode()
    except (binascii.Error, TypeError, ValueError) as error:
        expected = 'base64 of UTF-8 text, as {"b64": "..."}'
        raise ContractError(field.name, f"bad b64 ({error})", expected, "encode it again") from error


def _dtype(name: str) -> str:
    return "DT_STRING" if name == "str" else DTYPES.get(name, f"DT_{name.upper()}")


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    dim = [{"size": str(size), "name": ""} for size in (-1, *shape)]
    return {"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": False}, "name": name}
