"""Which rows a served model is asked besides held-out ones.

Held-out rows of a good classifier have probabilities of 0 and 1, where a wrong layer changes nothing. So there are rows
between them too: mixtures of pairs, rows on both sides of the boundary between two classes, rows near held-out ones,
rows at the limits of the contract, and rows that together have every category, word and id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns, concat, rows_of, take
from tidegate.models.data.item_lists import WRITTEN
from tidegate.models.preprocessing.schema import Field, Schema, Tokens
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.extremes import cover, extremes, perturb
from tidegate.models.probing.mixtures import mix

SEED = 20261129
MOST_ROWS, LEAST_ROWS = 128, 12  # of one kind
MOST_COVERING = 1100
MOST_BYTES = 1 << 21  # of the rows of one kind
BISECTIONS = 14  # to 1/16384 of the way between two rows
TRIED = 8  # times as many pairs as are kept are tried for two classes
EXTREMES = 48

Labels = Callable[[Columns], NDArray[np.integer]]


def fields_of(schema: Schema) -> list[Field]:
    """The columns of a probe: the inputs, and a text to write, because a model reads its beginning."""
    target = schema.target
    if target.task != "generation":
        return list(schema.inputs)
    tokens: Tokens = "words" if target.tokens == "words" else "characters"  # a subword may be any characters
    text = Field(name=target.names[0], kind="text", dtype="str", tokens=tokens)
    return [field for field in schema.inputs if field.name != text.name] + [text]


def probe_rows(
    schema: Schema, transforms: Transforms, columns: Columns, labels: Labels | None
) -> tuple[Columns, list[str]]:
    """Make the rows, the same ones for the same arguments, in mixed order; and say of what kind each is.

    Args:
        schema, transforms: of the data.
        columns: held-out raw rows, at least one.
        labels: the trained model's class of each row; None where there are no classes.

    Returns:
        Raw columns, and "held-out", "mixed", "boundary", "near", "extreme" or "covering" for each row.
    """
    fields = fields_of(schema)
    held_out = {field.name: columns[field.name] for field in fields}
    random, count = np.random.default_rng(SEED), _rows_of_a_kind(held_out)

    def some(rows: int) -> Columns:
        return take(held_out, random.integers(0, rows_of(held_out), rows))

    chosen = random.permutation(rows_of(held_out))[: 2 * count]
    parts = {
        "held-out": take(held_out, chosen),
        "mixed": mix(fields, some(count), some(count), random.random(count)),
        "near": perturb(fields, some(count), random),
        "extreme": extremes(fields, held_out, min(EXTREMES, count), random),
        "covering": cover(fields, held_out, vocabularies(transforms), _most_covering(held_out), random),
    }
    if labels is not None:
        parts["boundary"] = _boundary(fields, parts["held-out"], labels, count // 2)
    parts = {kind: rows for kind, rows in parts.items() if rows_of(rows)}
    rows = _joined(fields, list(parts.values()))
    kinds = np.repeat(list(parts), [rows_of(part) for part in parts.values()])
    order = random.permutation(len(kinds))
    return take(rows, order), kinds[order].tolist()


def vocabularies(transforms: Transforms) -> dict[str, Sequence[Any]]:
    """The known categories, words and ids by raw column."""
    found: dict[str, Sequence[Any]] = dict(transforms.categories)
    for entry in transforms.to_dict()["inputs"]:
        if entry["encoder"] in WRITTEN:
            found[entry["content"]["name"]] = entry["content"]["words"]
        if entry["encoder"] == "id":
            found[entry["content"]["name"]] = entry["content"]["known"] or range(entry["content"]["size"])
    if transforms.text_target is not None:
        words: list[str] = transforms.to_dict()["answers"]["words"]
        found[transforms.text_target.name] = words
    return found


def _rows_of_a_kind(columns: Columns) -> int:
    size = sum(_bytes_of_a_row(column) for column in columns.values())
    return max(LEAST_ROWS, min(MOST_ROWS, MOST_BYTES // max(size, 1)))


def _most_covering(columns: Columns) -> int:
    """Rows that cover categories and ids: a thousand of each, where a row is small."""
    size = sum(_bytes_of_a_row(column) for column in columns.values())
    return max(LEAST_ROWS, min(MOST_COVERING, MOST_BYTES // max(size, 1)))


def _bytes_of_a_row(column: Array) -> int:
    if column.dtype == object:
        return sum(len(text or "") for text in column[:64].tolist()) // min(64, len(column)) + 1
    return column.dtype.itemsize * math.prod(column.shape[1:])


def _boundary(fields: Sequence[Field], rows: Columns, labels: Labels, pairs: int) -> Columns:
    """Both sides of the boundary on the way between rows of two classes, by bisection; {} if there is one class."""
    random, found = np.random.default_rng(SEED), labels(rows)
    places = random.integers(0, len(found), (TRIED * pairs, 2))
    places = places[found[places[:, 0]] != found[places[:, 1]]][:pairs]
    if not len(places):
        return {}
    first, second = take(rows, places[:, 0]), take(rows, places[:, 1])
    own = found[places[:, 0]]
    low, high = np.zeros(len(places)), np.ones(len(places))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        same = labels(mix(fields, first, second, middle)) == own
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return concat([mix(fields, first, second, low), mix(fields, first, second, high)])


def _joined(fields: Sequence[Field], parts: Sequence[Columns]) -> Columns:
    """The parts as one, each column in its own dtype."""
    whole: dict[str, Any] = {}
    for field in fields:
        whole[field.name] = np.concatenate([part[field.name] for part in parts])
    return whole


def class_of(answers: NDArray[np.floating]) -> NDArray[np.integer]:
    """The class of each row by a classifier's raw output `(n, classes)`, or `(n, 1)` of one sigmoid."""
    return (answers[:, 0] > 0.5).astype(int) if answers.shape[1] == 1 else answers.argmax(axis=1)
