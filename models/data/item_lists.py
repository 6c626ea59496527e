"""A list of tokens or ids in one cell: its JSON text, so that a column stays one of texts, as labels and boxes are.

Unlike `label_lists`, the order counts and an item may stand twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tidegate.models.errors import SchemaError

LISTS = ("tokens", "ids")  # kinds of inputs
WRITTEN = ("text", *LISTS)  # kinds whose cells are cut into tokens
TAGS = "tags"  # the kind of a target: a label for each token
SEPARATORS = {"tokens": (None,), "ids": ("|", ";", ",", None)}  # of a cell that is no JSON; None: spaces
EXAMPLE = 'such as ["a", "b"]'


def items_text(values: Iterable[Any]) -> str:
    """Texts and whole numbers as a cell; 7 and "7" are one item.

    Raises:
        ValueError: an item is neither.
    """
    return json.dumps([_item(value) for value in values], ensure_ascii=False)


def items_of(cell: str | None, kind: str) -> list[str]:
    """The items of a cell: a JSON list, or texts with | ; or , between them, tokens with spaces; none of a missing one.

    Raises:
        SchemaError: it begins as a list and is none, or holds something else than texts and whole numbers.
    """
    plain = (cell or "").strip()
    if not plain.startswith("["):
        ways = SEPARATORS.get(kind, SEPARATORS["tokens"])
        separator = next((one for one in ways if one is None or one in plain), None)
        return [part.strip() for part in plain.split(separator) if part.strip()]
    try:
        found = json.loads(plain)
        return [_item(value) for value in found]
    except (ValueError, RecursionError) as error:
        raise SchemaError(
            f"{plain[:80]!r} is no list of {kind}; expected texts or whole numbers, {EXAMPLE}; correct it"
        ) from error


def is_item(value: Any) -> bool:
    """Whether a value may stand in a list: a text, or a whole number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, str | int) or (isinstance(value, float) and value.is_integer())


def _item(value: Any) -> str:
    if not is_item(value):
        raise ValueError(value)
    return value if isinstance(value, str) else str(int(value))
