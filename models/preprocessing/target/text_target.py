"""A text as a target: its tokens as ids, and ids as a text again. Stored as JSON, like every other transform.

In training a model predicts the next token after each position of a text, all positions at once (teacher forcing:
Williams, Zipser, "A Learning Algorithm for Continually Running Fully Recurrent Neural Networks", 1989). So its input is
the text with token 0 before it, and its target the text with token 0 after it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import IGNORED_TOKEN
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.encoding.encoders import InputSpec
from tidegate.models.preprocessing.encoding.text_encoder import LONGEST_TEXT, MOST_WORDS
from tidegate.models.preprocessing.encoding.text_rules import FIRST_RULE, RULE, composed
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.subwords import Subwords, learn_subwords, pieces

PREFIX = "prefix"  # the model input
# Ids: before and after a text; a token that is not in the vocabulary; the first token of the vocabulary.
BOUNDARY, UNSEEN, FIRST = 0, 1, 2
SEPARATORS = {"characters": "", "words": " ", "subwords": ""}
MOST_SUBWORDS = 4096  # that are learned where the vocabulary is not stated


class TextTarget:
    """The tokens of target texts: characters, words separated by spaces, or subwords, unchanged but for their form.

    Args:
        name: the target column.
        words: the known tokens, the most frequent first, or of subwords the first learned; their ids begin with 2.
        length: tokens of a text that are learned; longer texts are cut and have no end token.
        tokens: "characters", "words" or "subwords", see `subwords`.
        rule: from the second on texts are composed (NFC), see `encoding.text_rules`.
    """

    def __init__(self, name: str, words: list[str], length: int, tokens: str, rule: int = FIRST_RULE) -> None:
        self.content: dict[str, Any] = {"name": name, "words": words, "length": length, "tokens": tokens}
        self.content |= {"rule": rule} if rule != FIRST_RULE else {}
        self.name, self.length, self._tokens, self._rule = name, length, tokens, rule
        self._words = words
        self._subwords = Subwords(words) if tokens == "subwords" else None
        self._numbers = {word: number for number, word in enumerate(words, FIRST)}
        self.spec = InputSpec((length + 1,), "int32", PREFIX, len(words) + FIRST)

    @classmethod
    def fit(cls, target: Target, columns: Columns) -> TextTarget:
        """Choose the most frequent training tokens; if no length is stated, 95 of 100 texts fit into it.

        Half of a surrogate pair is never chosen, because no response could be sent with it.
        """
        name, tokens = target.names[0], target.tokens or "characters"
        written = [composed(text or "") for text in columns[name].tolist()]
        if tokens == "subwords":
            return cls._fit_subwords(target, written)
        texts = [tokenize(text, tokens) for text in written]
        counts = Counter(word for words in texts for word in words)
        writable = [word for word in counts if word.encode(errors="ignore").decode() == word]
        ranked = sorted(writable, key=lambda word: (-counts[word], word))
        kept = target.length or usual_length(texts)
        return cls(name, ranked[: target.vocabulary or MOST_WORDS], kept, tokens, RULE)

    @classmethod
    def _fit_subwords(cls, target: Target, texts: list[str]) -> TextTarget:
        words = learn_subwords(texts, target.vocabulary or MOST_SUBWORDS)
        split = Subwords(words).split
        kept = target.length or usual_length([split(text) for text in texts])
        return cls(target.names[0], words, kept, "subwords", RULE)

    def written(self, text: str | None) -> str:
        """A text in the form that is learned; a missing one is empty."""
        return (text or "") if self._rule == FIRST_RULE else composed(text or "")

    def split(self, text: str | None) -> list[str]:
        """The tokens of a text."""
        plain = self.written(text)
        return self._subwords.split(plain) if self._subwords else tokenize(plain, self._tokens)

    def token_ids(self, text: str | None) -> list[int]:
        """The ids of all tokens of a text."""
        number = self._numbers.get
        return [number(word, UNSEEN) for word in self.split(text)]

    def prompt_ids(self, text: str | None) -> list[int]:
        """The ids of a text to continue: the last `length` tokens of a long one."""
        given = self.written(text)
        if self._tokens != "words":  # what is cut off need not be split
            given = given[-self.length * (self._subwords.longest if self._subwords else 1) :]
        return [self._numbers.get(word, UNSEEN) for word in self.split(given)[-self.length :]]

    def text(self, numbers: tuple[int, ...]) -> str:
        """The text of these ids, all of them 2 or higher."""
        return SEPARATORS[self._tokens].join(self._words[number - FIRST] for number in numbers)

    def piece(self, number: int, first: bool) -> str:
        """What a token adds to a text: with the space before it, where it is not the first."""
        return ("" if first else SEPARATORS[self._tokens]) + self._words[number - FIRST]

    def characters(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many characters the tokens of `encode` stand for, `(n, steps)`; the end and an unseen one count as 1."""
        lengths = [1, 1, *(len(word) + len(SEPARATORS[self._tokens]) for word in self._words)]
        return np.where(labels == IGNORED_TOKEN, 0, np.array(lengths)[np.maximum(labels, 0)])

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


def usual_length(texts: Sequence[Sequence[str]]) -> int:
    """A length that 95 of 100 texts fit into, with a limit."""
    length = math.ceil(float(np.percentile([len(words) for words in texts], 95)))
    return min(max(length, 1), LONGEST_TEXT)


def tokenize(text: str | None, tokens: str) -> list[str]:
    """Split a text into its tokens; where these are learned from texts, into what they are learned of."""
    if tokens == "subwords":
        return pieces(text or "")
    return list(text or "") if tokens == "characters" else (text or "").split()
