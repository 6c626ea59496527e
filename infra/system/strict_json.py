"""JSON as RFC 8259 has it: without NaN and infinities, which Python writes as words that other readers refuse."""

import json
import math
from typing import Any


def strict_json(value: Any, **options: Any) -> str:
    """A value as JSON, `null` in place of a number that is not finite.

    Args:
        value: plain values.
        options: of `json.dumps`.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
