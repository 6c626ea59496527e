"""Texts that a model answers: their tokens as numbers, and numbers as a text again. Data, like every other transform.

A model is asked for the next token after each place of a text, all places at once (Williams, Zipser, "A Learning
Algorithm for Continually Running Fully Recurrent Neural Networks", 1989: teacher forcing). So it is given the text with
token 0 before it, and has to answer the text with token 0 behind it.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import IGNORED_TOKEN
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.encoders import LONGEST_TEXT, MOST_WORDS, InputSpec
from tidegate.models.preprocessing.schema import Target

PREFIX = "prefix"  # the model input
BOUNDARY, UNSEEN, FIRST = (
    0,
    1,
    2,
)  # begin and end; a token that training has not seen; the first one of the vocabulary
SEPARATORS = {"characters": "", "words": " "}


class TextTarget:
    """The target texts' tokens: characters, or words as spaces divide them, kept as they are.

    Args:
        name: the target's column.
        words: the tokens known, the most frequent first; their numbers begin with 2.
        length: tokens of a text that are learned; longer ones are cut and have no end.
        tokens: "characters" or "words".
    """

    def __init__(self, name: str, words: list[str], length: int, tokens: str) -> None:
        self.content = {"name": name, "words": words, "length": length, "tokens": tokens}
        self.name, self.length, self._tokens = name, length, tokens
        self._words = words
        self._numbers = {word: number for number, word in enumerate(words, FIRST)}
        self.spec = InputSpec((length + 1,), "int32", PREFIX, len(words) + FIRST)

    @classmethod
    def fit(cls, target: Target, columns: Columns) -> TextTarget:
        """Keep the most frequent training tokens; a length that is not stated holds 95 of 100 texts whole.

        Half of a pair of surrogates, which no answer could be sent with, is never kept.
        """
        name, tokens = target.names[0], target.tokens or "characters"
        texts = [tokenize(text, tokens) for text in columns[name].tolist()]
        counts = Counter(word for words in texts for word in words)
        writable = [word for word in counts if word.encode(errors="ignore").decode() == word]
        ranked = sorted(writable, key=lambda word: (-counts[word], word))
        length = math.ceil(np.percentile([len(words) for words in texts], 95))
        kept = target.length or min(max(length, 1), LONGEST_TEXT)
        return cls(name, ranked[: target.vocabulary or MOST_WORDS], kept, tokens)

    def numbers(self, text: str | None) -> list[int]:
        """The tokens of a text as numbers, all of them."""
        number = self._numbers.get
        return [number(word, UNSEEN) for word in tokenize(text, self._tokens)]

    def prompt_ids(self, text: str | None) -> list[int]:
        """A text to go on from as numbers: of a long one the last `length` tokens."""
        words = tokenize((text or "")[-self.length :], "characters") if self._tokens == "characters" else None
        words = tokenize(text, self._tokens)[-self.length :] if words is None else words
        return [self._numbers.get(word, UNSEEN) for word in words]

    def text(self, numbers: tuple[int, ...]) -> str:
        """The text of numbers from 2 on."""
        return SEPARATORS[self._tokens].join(self._words[number - FIRST] for number in numbers)

    def decoder_inputs(self, columns: Columns) -> NDArray[np.int32]:
        """What the model is given, `(n, length + 1)`: 0, the text, and 0 behind it."""
        encoded = np.zeros((len(columns[self.name]), self.length + 1), np.int32)
        for row, text in enumerate(columns[self.name].tolist()):
            numbers = self.numbers(text)[: self.length]
            encoded[row, 1 : len(numbers) + 1] = numbers
        return encoded

    def encode(self, columns: Columns) -> NDArray[np.int64]:
        """What it has to answer, `(n, length + 1)`: the text, 0 where it ends, and -1 behind that."""
        encoded = np.full((len(columns[self.name]), self.length + 1), IGNORED_TOKEN, np.int64)
        for row, text in enumerate(columns[self.name].tolist()):
            numbers = [*self.numbers(text), BOUNDARY]
            kept = numbers if len(numbers) <= self.length + 1 else numbers[: self.length]
            encoded[row, : len(kept)] = kept
        return encoded


def tokenize(text: str | None, tokens: str) -> list[str]:
    """The tokens of a text."""
    return list(text or "") if tokens == "characters" else (text or "").split()
