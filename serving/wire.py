"""JSON on the wire: fast where it is plain, and lenient only where that lets an error name its field."""

import json
from typing import Any

import orjson

from serving.errors import ContractError


def decode(body: bytes) -> Any:
    """Parse a request body; NaN and Infinity are parsed, so that the contract can name their field.

    Raises:
        ContractError: the body is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)
    except RecursionError:
        reason = "JSON nested too deeply"
    except ValueError as error:
        reason = f"{len(body)} bytes that are not JSON ({_ascii(str(error))})"
    raise ContractError("rows", reason, 'a JSON object {"rows": [...]}', "correct the request body")


def encode(value: Any) -> bytes:
    """Write an answer as JSON."""
    return orjson.dumps(value)


def error_body(kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
    """The one shape of every error an endpoint answers with; `kind` is a word for programs."""
    empty = {"field": None, "received": None, "expected": None, "fix": None, "row": None}
    # The standard library, because a field's name may hold what UTF-8 cannot: half a surrogate pair.
    return json.dumps({"error": {"type": kind, **empty, **(detail or {})}, "message": message}).encode()


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
