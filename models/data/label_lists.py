"""Lists of labels as a column: a list's JSON text, so that a column stays one of texts, as boxes are."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, text_of
from tidegate.models.errors import SchemaError

SEPARATORS = ("|", ";", ",")  # of labels in one text; the first that a column has
EXAMPLES = 'such as ["a", "b"], "a;b" or []'


def list_text(values: Iterable[Any]) -> str:
    """Labels as a reader gives them: a JSON list of texts, each once, in order of the alphabet."""
    return json.dumps(
        sorted({str(text_of(value)) for value in values if value is not None}), ensure_ascii=False
    )


def is_list_text(value: object) -> bool:
    """Whether a cell is what `list_text` writes."""
    return isinstance(value, str) and value.startswith("[") and value.endswith("]")


def label_column(name: str, column: Array) -> Array:
    """A column of texts as one of `list_text`: lists as JSON or Python write them, or labels with | ; or , between.

    Raises:
        SchemaError: a cell is no text, or begins as a list and is none.
    """
    if column.dtype != object:
        raise SchemaError(
            f"target {name!r} has kind labels and holds numbers, such as {column.ravel()[0]!r}; expected a set of "
            f"labels a row, {EXAMPLES}; leave the kind out"
        )
    plain = [text for text in column.tolist() if text is not None and not is_list_text(text)]
    separator = next((one for one in SEPARATORS if any(one in text for text in plain)), ",")
    found = np.empty(len(column), object)
    found[:] = [None if text is None else list_text(_labels(name, text, separator)) for text in column]
    return found


def labels_of(column: Array) -> list[list[str]]:
    """The labels of each row of `label_column`; none of a missing one."""
    return [[] if text is None else json.loads(text) for text in column.tolist()]


def _labels(name: str, text: str, separator: str) -> list[Any]:
    plain = text.strip()
    if not plain.startswith("["):
        return [part.strip() for part in plain.split(separator) if part.strip()]
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(plain)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
            return value
    raise SchemaError(
        f"target {name!r} holds {text[:80]!r}; expected a list of labels, {EXAMPLES}; correct it"
    )
