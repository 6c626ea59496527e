"""JSON bodies: a fast parser for valid JSON, a lenient one where that lets an error name its field."""

import json
from typing import Any

import orjson

from tidegate.serving.errors import ContractError

ROWS = 'a JSON object {"rows": [...]}'
OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def decode(body: bytes | memoryview, field: str = "rows", expected: str = ROWS) -> Any:
    """Parse a request body; NaN and Infinity are parsed, so that the contract can name their field.

    Args:
        body: of the request.
        field: the field that an error names.
        expected: what an error says was expected.

    Raises:
        ContractError: the body is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(bytes(body))
    except RecursionError:
        reason = "JSON nested too deeply"
    except ValueError as error:
        reason = f"{len(body)} bytes that are not JSON ({_ascii(str(error))})"
    raise ContractError(field, reason, expected, "correct the request body")


def encode(value: Any) -> bytes:
    """Encode a value as JSON; it may hold NumPy arrays."""
    return orjson.dumps(value, option=OPTIONS)


def error_body(kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
    """The JSON body of every error of an endpoint; `kind` is a fixed word for programs."""
    empty = {"field": None, "received": None, "expected": None, "fix": None, "row": None}
    # The standard library, because a field's name may hold what UTF-8 cannot: half a surrogate pair.
    return json.dumps({"error": {"type": kind, **empty, **(detail or {})}, "message": message}).encode()


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
