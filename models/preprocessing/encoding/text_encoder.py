"""How a text or a list becomes ids of words, characters or items, and what a token is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.item_lists import items_of
from tidegate.models.preprocessing.encoding.encoders import InputSpec
from tidegate.models.preprocessing.encoding.hashed_ids import hashed as hashed_place
from tidegate.models.preprocessing.encoding.text_rules import FIRST_RULE, RULE, composed, words_of

MOST_WORDS = 20_000
LONGEST_TEXT = 512  # words
UNSEEN, FIRST = 1, 2  # the id of a token that is not known, and of the first one that is


class TextEncoder:
    """Tokens as ids: 0 is padding, 1 an unseen token; longer texts are cut at the end.

    With tokens `whole` the model gets the strings themselves, `(n, 1)`, a missing one as an empty string.

    Args:
        name: the column's.
        words: the known tokens, the most frequent first; their ids begin with 2.
        length: tokens of a text that are read.
        tokens: a key of TOKENIZERS.
        rule: how a text is written and cut, see `text_rules`; bundles made before there were several have none.
        hashed: the number of ids that all tokens share by their hash, in place of `words`; 0: by vocabulary.
    """

    def __init__(
        self,
        name: str,
        words: list[str],
        length: int,
        tokens: str = "words",
        rule: int = FIRST_RULE,
        hashed: int = 0,
    ) -> None:
        self.content: dict[str, Any] = {"name": name, "words": words, "length": length, "tokens": tokens}
        self.content |= {"rule": rule} if rule != FIRST_RULE else {}
        self.content |= {"hashed": hashed} if hashed else {}
        self._hashed = hashed
        self._name, self._length, self._cut = name, length, tokenizer(tokens, rule)
        self._numbers = {word: number for number, word in enumerate(words, FIRST)}
        self._whole = tokens == "whole"
        kind = "bag" if tokens == "ids" else "text"
        self.spec = InputSpec((length,), "int32", kind, (hashed or len(words)) + FIRST)
        if self._whole:
            self.spec = InputSpec((1,), "string", "string")

    def apply(self, columns: Columns) -> Array:
        """Encode `n` rows as `(n, length)`; a missing text is all padding."""
        column = columns[self._name].tolist()
        if self._whole:
            return np.array([text or "" for text in column], object).reshape(-1, 1)
        encoded = np.zeros((len(column), self._length), np.int32)
        number = self._numbers.get
        for row, text in enumerate(column):
            words = self._cut(text)[: self._length]
            if self._hashed:
                encoded[row, : len(words)] = [FIRST + hashed_place(word, self._hashed) for word in words]
            else:
                encoded[row, : len(words)] = [number(word, UNSEEN) for word in words]
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """Each token that the model reads, as it is in the text, with one number."""
        rows = zip(columns[self._name].tolist(), parts.tolist(), strict=True)
        return {self._name: [self._tokens(text, numbers) for text, numbers in rows]}

    def described(self) -> dict[str, str]:
        """What the model gets."""
        tokens = self.content["tokens"]
        if self._whole:
            return {self._name: "the string itself"}
        if self._hashed:
            return {self._name: f"up to {self._length} ids 2…{self.spec.vocabulary - 1} by their hash"}
        return {
            self._name: f"ids of {self._length} {tokens}, 0…{self.spec.vocabulary - 1}, 1 is an unseen one"
        }

    def _tokens(self, text: str | None, numbers: list[float]) -> list[dict[str, Any]]:
        return [
            {"token": token, "attribution": number}
            for token, number in zip(self._cut(text), numbers, strict=False)
        ]


def tokenizer(tokens: str, rule: int = RULE) -> Callable[[str | None], list[str]]:
    """How a text is cut into tokens of a kind, a key of TOKENIZERS, by a rule."""
    return partial(TOKENIZERS[tokens], rule=rule)


def _words(text: str | None, rule: int) -> list[str]:
    return words_of(text, rule) if text else []


def _characters(text: str | None, rule: int) -> list[str]:
    return list((text or "") if rule == FIRST_RULE else composed(text or ""))


def _whole(text: str | None, rule: int) -> list[str]:
    del rule
    return [text or ""]


def _given(text: str | None, rule: int) -> list[str]:
    del rule  # there were no lists before the second one
    return [composed(item) for item in items_of(text, "tokens")]


def _ids(text: str | None, rule: int) -> list[str]:
    del rule
    return items_of(text, "ids")


TOKENIZERS = {"words": _words, "characters": _characters, "whole": _whole, "tokens": _given, "ids": _ids}
