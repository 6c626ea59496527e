"""How a text becomes ids of words or characters, and what a token is."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.preprocessing.encoding.encoders import InputSpec

MOST_WORDS = 20_000
LONGEST_TEXT = 512  # words
WORD = re.compile(r"\w+")


class TextEncoder:
    """Words or characters as token ids: 0 is padding, 1 an unseen token; longer texts are cut at the end.

    With tokens `whole` the model gets the strings themselves, `(n, 1)`, a missing one as an empty string.
    """

    def __init__(self, name: str, words: list[str], length: int, tokens: str = "words") -> None:
        self.content = {"name": name, "words": words, "length": length, "tokens": tokens}
        self._name, self._length, self._cut = name, length, TOKENIZERS[tokens]
        self._numbers = {word: number for number, word in enumerate(words, 2)}
        self._whole = tokens == "whole"
        self.spec = InputSpec((length,), "int32", "text", len(words) + 2)
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
            encoded[row, : len(words)] = [number(word, 1) for word in words]
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
        return {
            self._name: f"ids of {self._length} {tokens}, 0…{self.spec.vocabulary - 1}, 1 is an unseen one"
        }

    def _tokens(self, text: str | None, numbers: list[float]) -> list[dict[str, Any]]:
        return [
            {"token": token, "attribution": number}
            for token, number in zip(self._cut(text), numbers, strict=False)
        ]


def _words(text: str | None) -> list[str]:
    return WORD.findall(text.lower()) if text else []


def _characters(text: str | None) -> list[str]:
    return list(text or "")


def _whole(text: str | None) -> list[str]:
    return [text or ""]


TOKENIZERS = {"words": _words, "characters": _characters, "whole": _whole}
