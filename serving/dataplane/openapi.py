"""The OpenAPI page: BentoML's description of the service, with this release's own rows and predictions."""

import json
import math
from typing import Any

import numpy as np

from tidegate.models.data.item_lists import LISTS, WRITTEN
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.models.preprocessing.schema import Target
from tidegate.serving.contract.contract import COSTLY, Contract, Input
from tidegate.serving.dataplane.openapi_dialects import paths, refusal
from tidegate.serving.inference.engine import InferenceEngine

# No generator: BentoML's knows our service only by `list[Any]`; rows and predictions are in the contract.
Spec = dict[str, Any]

# The format that `http.json_body.error_body` writes.
ERROR: Spec = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "field": {"type": "string", "nullable": True},
                "received": {"type": "string", "nullable": True},
                "expected": {"type": "string", "nullable": True},
                "fix": {"type": "string", "nullable": True},
                "row": {"type": "integer", "nullable": True},
            },
        },
        "message": {"type": "string"},
    },
}

TASK_NAMES = {"multilabel": "multi-label classification", "multioutput": "prediction"}

FILE: Spec = {
    "type": "object",
    "required": ["b64"],
    "additionalProperties": False,
    "properties": {
        "b64": {"type": "string", "format": "byte", "description": "an image file, such as PNG or JPEG"}
    },
}


def describe(spec: Spec, engine: InferenceEngine) -> Spec:
    """Return BentoML's OpenAPI document with the release's name, schema and an example that can be sent.

    Args:
        spec: the document, as BentoML writes it.
        engine: the loaded release.
    """
    contract, predict = engine.served.contract, spec["paths"]["/predict"]["post"]
    request = {"rows": engine.sample[:1]}
    predict["requestBody"] = {"required": True, "content": _json(_request(contract), request)}
    answered = json.loads(engine.answer_content(request).body)
    refused = json.loads(engine.answer_content({"rows": []}).body)
    predict["responses"] = {
        "200": {
            "description": "One prediction per row, in order",
            "content": _json(_answer(contract), answered) | _events(contract, answered),
        },
        "400": {"description": "What is wrong, and in which field", "content": _json(ERROR, refused)},
        "default": refusal(ERROR),
    }
    page = {"tags": predict["tags"], "description": "What a row is, and what a prediction is."}
    content = _json({"type": "object"}, json.loads(engine.contract_json))
    spec["paths"]["/contract"] = {
        "get": page | {"responses": {"200": {"description": "The contract", "content": content}}}
    }
    fields = {entry.name: _field(entry) for entry in contract.inputs}
    spec["paths"] |= paths(engine, _row(fields), fields)
    for path in spec["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("default", refusal(ERROR))
    first = ("/predict", "/contract")
    listed = {path: spec["paths"][path] for path in first} | spec["paths"]
    tags = [{"name": predict["tags"][0], "description": "Predictions, and what they are made from."}]
    others = [tag for tag in spec["tags"] if tag["name"] != tags[0]["name"]]
    return spec | {"info": _info(engine), "paths": listed, "tags": tags + others, "components": {}}


def _info(engine: InferenceEngine) -> Spec:
    contract = engine.served.contract
    inputs = ", ".join(f"`{entry.name}`" for entry in contract.inputs)
    target = ", ".join(f"`{name}`" for name in contract.target) or "the input itself"
    task = TASK_NAMES.get(contract.task, contract.task)
    return {
        "title": engine.served.name,
        "version": "bento" if engine.served.release is None else f"release {engine.served.release}",
        "description": f"# {engine.served.name}\n\nA {task} of {target} from {inputs}.",
    }


def _json(schema: Spec, example: Any) -> Spec:
    return {"application/json": {"schema": schema, "example": example}}


def _events(contract: Contract, answered: Any) -> Spec:
    """The answer of a model that writes texts to `Accept: text/event-stream`, see `dataplane.streaming`."""
    if contract.decoding is None or contract.decoding.method == "beam":
        return {}
    words = (
        'server-sent events: one for each token, `data: {"row": 0, "text": …}`, and a last one, `event: answer`, whose '
        "data is the JSON answer and `reasons`, of each row `end` or `length`; or `event: error`, with an error as data"
    )
    first = json.dumps({"row": 0, "text": "a"})
    last = json.dumps({**answered, "reasons": ["end"] * len(answered["predictions"])})
    example = f"data: {first}\n\nevent: answer\ndata: {last}\n\n"
    return {"text/event-stream": {"schema": {"type": "string", "description": words}, "example": example}}


def _request(contract: Contract) -> Spec:
    row = _row({entry.name: _field(entry) for entry in contract.inputs})
    rows: Spec = {"type": "array", "minItems": 1, "items": row}
    if contract.most_rows is not None:
        rows["maxItems"] = contract.most_rows
    properties: Spec = {"rows": rows}
    if contract.settings is not None:
        properties[contract.settings_key] = _settings(contract.settings)
    if contract.explain is not None:
        words = f"also explain each prediction, of at most {contract.explain.rows} rows; it takes long"
        properties["explain"] = {"type": "boolean", "default": False, "description": words}
    return {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": properties,
    }


def _settings(own: DecodingSettings) -> Spec:
    """The settings for texts or boxes that a request may change, none of them costlier than the release's own."""
    schema = type(own).model_json_schema()
    properties: Spec = {}
    for name, described in schema["properties"].items():
        kinds = described.get("anyOf", [described])
        chosen = dict(next(kind for kind in kinds if kind.get("type") != "null"))
        if len(kinds) > 1 and name != "max_length":
            chosen["nullable"] = True
        if name in COSTLY:
            chosen["maximum"] = getattr(own, name)
        properties[name] = chosen | {"description": described["description"]}
    return {"type": "object", "additionalProperties": False, "nullable": True, "properties": properties}


def _row(fields: dict[str, Spec]) -> Spec:
    row: Spec = {
        "type": "object",
        "required": list(fields),
        "properties": fields,
        "additionalProperties": False,
    }
    return {"oneOf": [*fields.values(), row]} if len(fields) == 1 else row


def _field(entry: Input) -> Spec:
    schema = _single(entry.dtype)
    if entry.kind in LISTS:
        item = {"anyOf": [schema, {"type": "integer"}]}
        schema = {"anyOf": [{"type": "array", "items": item}, schema]}
    if entry.shape and entry.dtype != "bool":
        schema = {"anyOf": [schema, {"type": "boolean"}]}  # inside an array of numbers true counts as 1
    if entry.categories:
        schema["description"] = f"one of {', '.join(entry.categories)}"
    for place, size in reversed(list(enumerate(entry.shape))):
        least = 1 if entry.kind == "sequence" and place == 0 else size
        schema = {"type": "array", "minItems": least, "maxItems": size, "items": schema}
    if entry.kind == "image":
        return {"anyOf": [schema, FILE]}
    if entry.kind == "date":
        schema["description"] = "a date in ISO 8601" + (f", or {entry.format}" if entry.format else "")
    return schema if entry.shape or entry.nullable is False else schema | {"nullable": True}


def _single(dtype: str) -> Spec:
    if dtype == "str":
        return {"type": "string"}
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return {"type": "boolean"}
    if kind.kind == "f":
        largest = _largest(kind)
        return {"type": "number", "minimum": -largest, "maximum": largest}
    limits = np.iinfo(kind)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def _largest(kind: np.dtype[Any]) -> float:
    """The largest number that the dtype rounds to a finite one."""
    info = np.finfo(kind)
    if kind.itemsize == 8:
        return float(info.max)
    return math.nextafter(float(info.max) + math.ldexp(1.0, info.maxexp - info.nmant - 2), 0)


def _answer(contract: Contract) -> Spec:
    number: Spec = {"type": "number"}
    prediction = _prediction(contract.target_)
    if contract.detection is not None:
        prediction = {"type": "object", "properties": {"boxes": {"type": "array", "items": _box(contract)}}}
    if contract.decoding is not None:
        prediction = {
            "type": "object",
            "properties": {"text": {"type": "string"}, "log_probability": number},
        }
    release = {"type": "integer", "nullable": True}
    predictions = {"type": "array", "items": prediction}
    properties = {"model": {"type": "string"}, "release": release, "predictions": predictions}
    if contract.explain is not None:
        properties["explanations"] = {"type": "array", "items": _explanation(contract)}
    return {"type": "object", "properties": properties}


def _prediction(target: Target) -> Spec:
    """The schema of one answer, see `contract.answers.predictions_of`."""
    number: Spec = {"type": "number"}
    label = {"enum": list(target.classes)}
    if target.outputs is not None:
        return {"type": "object", "properties": {one.name: _prediction(one) for one in target.outputs}}
    if target.task == "multilabel":
        names = [str(name) for name in target.classes]
        of_each = {"type": "object", "properties": dict.fromkeys(names, number)}
        labels = {"type": "array", "items": {"enum": names}}
        return {"type": "object", "properties": {"labels": labels, "probabilities": of_each}}
    if target.task == "tagging":
        row: Spec = {"type": "array", "maxItems": target.places}
        tags = row | {"items": {"enum": list(target.classes[1:])}}
        return {"type": "object", "properties": {"labels": tags, "probability": row | {"items": number}}}
    if target.task == "segmentation":
        nested = {"labels": _nested(label, target.shape), "probability": _nested(number, target.shape)}
        if target.values is not None:
            held: Spec = {"type": "integer", "enum": list(target.values)}
            by_value = ", ".join(
                f"{value} is {name}" for value, name in zip(target.values, target.classes, strict=True)
            )
            mask = _nested(held, target.shape) | {"description": f"row by row from the top; {by_value}"}
            nested = {"mask": mask, "probability": nested["probability"]}
        return {"type": "object", "properties": nested}
    if target.classes:
        several = {"type": "array", "items": number}
        properties = {"label": label, "probability": number, "probabilities": several}
        return {"type": "object", "properties": properties}
    if target.task == "anomaly":
        return {"type": "object", "properties": {"score": number, "anomaly": {"type": "boolean"}}}
    if target.quantiles is not None:
        steps = _nested(number, target.shape)
        by_level = {"type": "object", "properties": dict.fromkeys(map(str, target.quantiles), steps)}
        return {"type": "object", "properties": {"forecast": steps, "quantiles": by_level}}
    if target.shape is not None:
        return _nested(number, target.shape)
    return number if len(target.names) == 1 else {"type": "array", "items": number}


def _nested(inner: Spec, shape: tuple[int, ...] | None) -> Spec:
    for size in reversed(shape or ()):
        inner = {"type": "array", "minItems": size, "maxItems": size, "items": inner}
    return inner


def _explanation(contract: Contract) -> Spec:
    """The schema of one prediction's explanation, which a request with `explain: true` gets."""
    number: Spec = {"type": "number"}
    return {
        "type": "object",
        "properties": {
            "output": {"enum": list(contract.classes or contract.target)},
            "prediction": number,
            "baseline": number,
            "completeness_gap": number,
            "attributions": {
                "type": "object",
                "properties": {entry.name: _attributed(entry) for entry in contract.inputs},
            },
        },
    }


def _box(contract: Contract) -> Spec:
    number: Spec = {"type": "number"}
    corners = {"type": "array", "minItems": 4, "maxItems": 4, "items": number}
    corners["description"] = "left, top, right, bottom, in pixels of the image sent"
    label = {"enum": list(contract.classes)}
    return {"type": "object", "properties": {"label": label, "score": number, "box": corners}}


def _attributed(entry: Input) -> Spec:
    """The schema of an input's attributions: a number, an image's pixels, an array, or a text's tokens."""
    schema: Spec = {"type": "number"}
    if entry.kind in WRITTEN:
        token = {"token": {"type": "string"}, "attribution": schema}
        return {"type": "array", "items": {"type": "object", "properties": token}}
    for _ in entry.shape[:2] if entry.kind == "image" else entry.shape:
        schema = {"type": "array", "items": schema}
    return schema
