"""The standard dialects' part of the OpenAPI page: paths, schemas, and examples with the model's own responses."""

import json
from typing import Any

from tidegate.serving.contract.encoded_images import is_file
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.contract.tensors import DTYPES, input_specs, output_specs
from tidegate.serving.dialects import Dialect
from tidegate.serving.inference.engine import InferenceEngine

Spec = dict[str, Any]

ERROR: Spec = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
    "additionalProperties": False,
}
NUMBERS: Spec = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}


def refusal(schema: Spec) -> Spec:
    """The response for every other status: an error, as JSON."""
    return {"description": "What is wrong", "content": {"application/json": {"schema": schema}}}


def paths(engine: InferenceEngine, row: Spec, fields: dict[str, Spec]) -> dict[str, Spec]:
    """The paths of the dialects of TensorFlow Serving and of the Open Inference Protocol.

    Args:
        engine: the loaded release.
        row: schema of a row of `/predict`.
        fields: schema of each input's value.
    """
    named = {"tfserving": _tfserving(engine, row, fields), "v2": _v2(engine)}
    found: dict[str, Spec] = {}
    for name, (tag, request, answer, example) in named.items():
        dialect = engine.dialects[name]
        post = _predict_operation(engine, dialect, request, answer, example) | {"tags": [tag]}
        found |= {path: {"post": post} for path in dialect.predict_paths}
        found |= {path: {"get": _page_operation() | {"tags": [tag]}} for path in dialect.pages}
    return found


def _predict_operation(
    engine: InferenceEngine, dialect: Dialect, request: Spec, answer: Spec, example: Spec
) -> Spec:
    answered = json.loads(engine.answer(dialect, json.dumps(example).encode(), {}).body)
    body = {"application/json": {"schema": request, "example": example}}
    good = {"application/json": {"schema": answer, "example": answered}}
    return {
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "One prediction per row", "content": good},
            "default": refusal(ERROR),
        },
    }


def _page_operation() -> Spec:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "responses": {
            "200": {"description": "As its standard defines it", "content": content},
            "default": refusal({}),
        }
    }


def _tfserving(engine: InferenceEngine, row: Spec, fields: dict[str, Spec]) -> tuple[str, Spec, Spec, Spec]:
    signature = {"type": "string", "enum": ["serving_default", "", None], "nullable": True}
    columns = {name: {"type": "array", "minItems": 1, "items": field} for name, field in fields.items()}
    inputs: Spec = {
        "type": "object",
        "required": list(fields),
        "properties": columns,
        "additionalProperties": False,
    }
    rows = {"instances": {"type": "array", "minItems": 1, "items": row}, "signature_name": signature}
    if len(fields) == 1:  # a single column may be sent without its name
        inputs = {"anyOf": [inputs, *columns.values()]}
    by_column = {"inputs": inputs, "signature_name": signature}
    request = {
        "oneOf": [
            {"type": "object", "required": ["instances"], "properties": rows},
            {"type": "object", "required": ["inputs"], "properties": by_column},
        ]
    }
    contract = engine.served.contract
    values: Spec = {"type": "array", "items": {"type": "string"}} if contract.decoding else NUMBERS
    listed, whole = values, values
    if contract.detection is not None:  # several outputs
        listed, whole = {"type": "array", "items": {"type": "object"}}, {"type": "object"}
    answer = {"type": "object", "properties": {"predictions": listed, "outputs": whole}}
    return "TensorFlow Serving", request, answer, {"instances": engine.sample[:1]}


def _v2(engine: InferenceEngine) -> tuple[str, Spec, Spec, Spec]:
    contract = engine.served.contract
    names = [spec.name for spec in input_specs(contract)]
    tensor: Spec = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string", "enum": names},
            "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string", "enum": [*DTYPES, "BYTES"]},
            "data": {"type": "array"},
            "parameters": {"type": "object", "nullable": True},
        },
    }
    outputs = {"type": "array", "nullable": True, "items": {"type": "object", "required": ["name"]}}
    listed = {"type": "array", "minItems": len(names), "maxItems": len(names), "items": tensor}
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "nullable": True},
            "inputs": listed,
            "outputs": outputs,
            "parameters": {"type": "object", "nullable": True},
        },
    }
    answered: Spec = {"type": "array", "minItems": 1, "maxItems": len(output_specs(contract))}
    answered |= {"items": {"type": "object", "required": ["name", "shape", "datatype"]}}
    answer = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": answered,
        },
    }
    return "Open Inference Protocol", request, answer, _example(engine)


def _example(engine: InferenceEngine) -> Spec:
    contract, row = engine.served.contract, engine.sample[0]
    columns = RequestReader(contract).parse_rows([row])
    inputs = []
    for spec in input_specs(contract):
        given = row[spec.name] if isinstance(row, dict) and not is_file(row) else row
        if is_file(given):
            tensor = {"shape": [1], "datatype": "BYTES", "data": [given["b64"]]}
        else:
            column = columns[spec.name]
            flat = [None if value != value else value for value in column.ravel().tolist()]
            tensor = {"shape": list(column.shape), "datatype": spec.datatype, "data": flat}
        inputs.append({"name": spec.name, **tensor})
    return {"inputs": inputs}
