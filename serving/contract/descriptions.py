"""Descriptions of values and fields, for errors that say what was received and what is expected."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegate.models.data.dates import YEAR_FIRST, seconds_of
from tidegate.models.data.item_lists import EXAMPLE, LISTS
from tidegate.models.preprocessing.schema import Field

SHOWN = 60
DEPTH = 32  # of nested arrays; deeper ones are rejected before they are walked through


def describe(value: Any) -> str:
    """Describe a received value in a few words, always printable ASCII."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {'true' if value else 'false'}"
    if isinstance(value, list):
        if too_deep(value):
            return f"an array nested deeper than {DEPTH}"
        shape = _shape(value)
        return "an array with rows of different lengths" if shape is None else f"an array of shape {shape}"
    if isinstance(value, dict):
        return f"an object with the keys {_short(list(value))}"
    if isinstance(value, str):
        return f"the text {_short(value)}"
    return f"the number {_short(value)}"


def expectation(field: Field, categories: Sequence[str] = ()) -> str:
    """Describe what a value of the field must be."""
    null = "" if field.nullable is False else ", or null for a missing one"
    if field.kind == "text":
        return f"text{null}"
    if field.kind in LISTS:
        return f"an array of texts or whole numbers, {EXAMPLE}{null}"
    if field.kind == "categorical":
        known = ", ".join(json.dumps(name) for name in categories[:8])
        more = f" and {len(categories) - 8} more" if len(categories) > 8 else ""
        return f"the name of a category ({known}{more}){null}"
    if field.kind == "date":
        other = "" if field.format in (None, YEAR_FIRST) else f" or as in training ({field.format})"
        return f"a date as text, ISO 8601 such as 2025-01-31 or 2025-01-31T18:30{other}{null}"
    if field.dtype == "str":
        return f"an id as text{null}"
    number = _number_words(np.dtype(field.dtype))
    if field.kind == "sequence":
        steps = (
            f"an array of shape {list(field.shape[1:])}, every element {number}"
            if field.shape[1:]
            else number
        )
        return f"an array of 1 to {field.shape[0]} steps, every step {steps}"
    if field.shape:
        return f"an array of shape {list(field.shape)}, every element {number}"
    return f"{number}{null}"


def is_date(field: Field, value: str) -> bool:
    """Whether a text is a date as the field has them, or in ISO 8601."""
    return seconds_of(value, field.format or YEAR_FIRST) is not None


def has_shape(field: Field, value: Any) -> bool:
    """Whether nested lists have the shape of the field's rows."""
    shape = _shape(value) if isinstance(value, list) else None
    if field.kind == "sequence" and shape:
        return shape[1:] == list(field.shape[1:]) and 1 <= shape[0] <= field.shape[0]
    return shape == list(field.shape)


def describe_with_nan(value: Any) -> str:
    """Like `describe`, but NaN and infinities have their names."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return describe(value)


def too_deep(value: Any) -> bool:
    """Whether lists are nested deeper than DEPTH."""
    level = [value]
    for _ in range(DEPTH):
        level = [part for entry in level if isinstance(entry, list) for part in entry[:1000]]
        if not level:
            return False
    return True


def leaves(value: Any) -> list[Any]:
    """The values in nested lists, in order."""
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]


def _shape(value: Any) -> list[int] | None:
    """The shape of nested lists; None when ragged."""
    if not isinstance(value, list):
        return []
    inner = [_shape(part) for part in value]
    if any(shape is None or shape != inner[0] for shape in inner):
        return None
    return [len(value), *(inner[0] or [])] if inner else [0]


def _number_words(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "b":
        return "true or false"
    if dtype.kind == "f":
        return f"a number ({dtype.name})"
    limits = np.iinfo(dtype)
    return f"a whole number from {limits.min} to {limits.max}"


def _short(value: Any) -> str:
    text = json.dumps(value[:SHOWN] if isinstance(value, str) else value, ensure_ascii=True, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
