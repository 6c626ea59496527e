"""A label for each token of a row, as of named entities: the target of a tagging.

Rows have their own numbers of tokens, and the network has as many places as the longest one. The first class, an empty
text, stands for a place without a token: the network answers it there and nowhere else, see `networks.token_mask`. So
an answer alone says how many labels it has. The loss and the metrics leave such places out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import IGNORED_TOKEN
from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.item_lists import TAGS, items_of
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.text_encoder import LONGEST_TEXT
from tidegate.models.preprocessing.schema import Field, Schema, Target

NO_TOKEN = ""  # the first class
EXAMPLE = 'such as ["B-PER", "O"]'


def tag_target(name: str, column: Array) -> Target:
    """The target of a column of lists of labels.

    Raises:
        SchemaError: it holds something else, an empty label, or fewer than two different ones.
    """
    if column.dtype != object:
        raise SchemaError(
            f"target {name!r} has kind tags and holds numbers; expected a list of labels a row, one for each token, "
            f"{EXAMPLE}; correct it, or leave the kind out"
        )
    rows = [_tags(name, cell) for cell in column.tolist()]
    labels = sorted({label for row in rows for label in row})
    if len(labels) < 2:
        raise SchemaError(
            f"target {name!r} has the labels {labels}; expected two or more among all tokens; check the source"
        )
    longest = max(1, *map(len, rows)) if rows else 1
    return Target(names=(name,), task="tagging", classes=(NO_TOKEN, *labels), shape=(longest,))


def with_tags(schema: Schema, columns: Columns) -> Schema:
    """The schema with one length for the tokens and their labels.

    Args:
        schema: of the rows; of another task it is returned as it is.
        columns: all rows.

    Raises:
        SchemaError: there is not one input of tokens, or a row has another number of labels than of tokens.
    """
    target = schema.target
    if target.task != "tagging":
        return schema
    tokens = _tokens_of(schema)
    name, (longest,) = target.names[0], target.shape or (1,)
    pairs = zip(columns[tokens.name].tolist(), columns[name].tolist(), strict=True)
    for row, (cell, tags) in enumerate(pairs, 1):
        words, labels = items_of(cell, tokens.kind), items_of(tags, TAGS)
        if len(words) != len(labels):
            raise SchemaError(
                f"row {row} has {len(words)} {tokens.name} and {len(labels)} labels in {name!r}; expected a label for "
                f"each token; correct the row, whose tokens begin with {' '.join(words[:5])!r}"
            )
    length = tokens.length or min(longest, LONGEST_TEXT)
    if length < longest:
        tell(
            f"rows of more than {length} {tokens.name} are cut there, labels too; the longest has {longest}; state a "
            f"larger length of {tokens.name} to read all"
        )
    fields = [
        field.model_copy(update={"length": length}) if field.name == tokens.name else field
        for field in schema.inputs
    ]
    return Schema(inputs=tuple(fields), target=target.model_copy(update={"shape": (length,)}))


def encode_tags(target: Target, column: Array) -> NDArray[np.int64]:
    """Class indices `(n, length)`, and IGNORED_TOKEN where there is no token.

    Raises:
        SchemaError: a label that the target does not have.
    """
    places = {label: place for place, label in enumerate(target.classes)}
    encoded = np.full((len(column), target.places), IGNORED_TOKEN, np.int64)
    for row, cell in enumerate(column.tolist()):
        labels = _tags(target.names[0], cell)[: target.places]
        unknown = next((label for label in labels if label not in places), None)
        if unknown is not None:
            raise SchemaError(
                f"target {target.names[0]!r} has the label {unknown!r}; expected one of "
                f"{', '.join(map(str, target.classes[1:]))}; train again with rows of that label"
            )
        encoded[row, : len(labels)] = [places[label] for label in labels]
    return encoded


def entities(labels: Sequence[str]) -> set[tuple[int, int, str]]:
    """The entities that labels such as B-PER, I-PER and O mark, each its first token, the one after its last, its type.

    An I that continues nothing of its type begins an entity, as in the CoNLL-2003 evaluation (Tjong Kim Sang, De
    Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003). Labels without B and I: a run of one label is one.
    """
    found: set[tuple[int, int, str]] = set()
    start, kind = 0, ""
    for place, label in enumerate([*labels, "O"]):
        mark, _, rest = label.partition("-")
        own = rest if mark in MARKS and rest else "" if label in OUTSIDE else label
        continues = own == kind and not (mark in BEGINS and rest)
        if not continues:
            if kind:
                found.add((start, place, kind))
            start, kind = place, own
    return found


BEGINS = ("B", "S", "U")  # of the schemes BIO, BIOES and BILOU
MARKS = (*BEGINS, "I", "E", "L")
OUTSIDE = ("O", "_", NO_TOKEN)


def _tags(name: str, cell: Any) -> list[str]:
    try:
        labels = items_of(cell, TAGS)
    except SchemaError as error:
        raise SchemaError(f"target {name!r}: {error}") from error
    if NO_TOKEN in labels:
        raise SchemaError(
            f"target {name!r} has an empty label in {str(cell)[:80]}; expected a label for each token, {EXAMPLE}; "
            "write O for tokens that are nothing"
        )
    return labels


def _tokens_of(schema: Schema) -> Field:
    """The input whose tokens have labels."""
    found = [field for field in schema.inputs if field.kind == "tokens"]
    if len(found) != 1:
        held = ", ".join(f"{field.name} ({field.kind})" for field in schema.inputs)
        raise SchemaError(
            f"the task is tagging and the inputs are {held}; expected one of kind tokens, whose tokens have the "
            "labels; state {name: NAME, kind: tokens} in data.inputs"
        )
    return found[0]
