"""A text as a target: its tokens as ids, and ids as a text again. Stored as JSON, like every other transform.

In training a model predicts the next token after each position of a text, all positions at once (teacher forcing:
Williams, Zipser, "A Learning Algorithm for Continually Running Fully Recurrent Neural Networks", 1989). So its input is
the text with token 0 before it, and its target the text with token 0 after it.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import IGNORED_TOKEN
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.encoding.encoders import InputSpec
from tidegate.models.preprocessing.encoding.text_encoder import LONGEST_TEXT, MOST_WORDS
from tidegate.models.preprocessing.schema import Target

PREFIX = "prefix"  # the model input
# Ids: before and after a text; a token that is not in the vocabulary; the first token of the vocabulary.
BOUNDARY, UNSEEN, FIRST = 0, 1, 2
SEPARATORS = {"characters": "", "words": " "}


class TextTarget:
    """The tokens of target texts: characters, or words separated by spaces, unchanged.

    Args:
        name: the target column.
        words: the known tokens, the most frequent first; their ids begin with 2.
        length: tokens of a text that are learned; longer texts are cut and have no end token.
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
        """Choose the most frequent training tokens; if no length is stated, 95 of 100 texts fit into it.

        Half of a surrogate pair is never chosen, because no response could be sent with it.
        """
        name, tokens = target.names[0], target.tokens or "characters"
        texts = [tokenize(text, tokens) for text in columns[name].tolist()]
        counts = Counter(word for words in texts for word in words)
        writable = [word for word in counts if word.encode(errors="ignore").decode() == word]
        ranked = sorted(writable, key=lambda word: (-counts[word], word))
        length = math.ceil(np.percentile([len(words) for words in texts], 95))
        kept = target.length or min(max(length, 1), LONGEST_TEXT)
        return cls(name, ranked[: target.vocabulary or MOST_WORDS], kept, tokens)

    def token_ids(self, text: str | None) -> list[int]:
        """The ids of all tokens of a text."""
        number = self._numbers.get
        return [number(word, UNSEEN) for word in tokenize(text, self._tokens)]

    def prompt_ids(self, text: str | None) -> list[int]:
        """The ids of a text to continue: the last `length` tokens of a long one."""
        words = tokenize((text or "")[-self.length :], "characters") if self._tokens == "characters" else None
        words = tokenize(text, self._tokens)[-self.length :] if words is None else words
        return [self._numbers.get(word, UNSEEN) for word in words]

    def text(self, numbers: tuple[int, ...]) -> str:
        """The text of these ids, all of them 2 or higher."""
        return SEPARATORS[self._tokens].join(self._words[number - FIRST] for number in numbers)

    def decoder_inputs(self, columns: Columns) -> NDArray[np.int32]:
        """The model's input `prefix`, `(n, length + 1)`: 0, the text, and 0 as padding."""
        encoded = np.zeros((len(columns[self.name]), self.length + 1), np.int32)
        for row, text in enumerate(columns[self.name].tolist()):
            numbers = self.token_ids(text)[: self.length]
            encoded[row, 1 : len(numbers) + 1] = numbers
        return encoded

    def encode(self, columns: Columns) -> NDArray[np.int64]:
        """The target, `(n, length + 1)`: the text, 0 at its end, and -1 (ignored) after it."""
        encoded = np.full((len(columns[self.name]), self.length + 1), IGNORED_TOKEN, np.int64)
        for row, text in enumerate(columns[self.name].tolist()):
            numbers = [*self.token_ids(text), BOUNDARY]
            kept = numbers if len(numbers) <= self.length + 1 else numbers[: self.length]
            encoded[row, : len(kept)] = kept
        return encoded


def tokenize(text: str | None, tokens: str) -> list[str]:
    """Split a text into its tokens."""
    return list(text or "") if tokens == "characters" else (text or "").split()
