"""Texts from a model that tells the next token: the one place where a bundle's decoding is carried out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.decoding.beam import beam_search
from tidegate.models.decoding.sampling import sample
from tidegate.models.decoding.settings import Decoding
from tidegate.models.preprocessing.text_target import BOUNDARY, PREFIX, UNSEEN, TextTarget

MOST_NUMBERS = 1 << 24  # probabilities that are held at once
COLDEST = 1e-3  # below it one token has all of the probability, and its powers are no numbers any more
# Model inputs by name to the probabilities of the next token after each place, float32 `(n, steps, vocabulary)`.
Run = Callable[[dict[str, NDArray[Any]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Text:
    """An answered text: its tokens, and the logarithm of its probability, that of its end included where it ended."""

    tokens: tuple[int, ...]
    log_probability: float


def decode(
    run: Run,
    answers: TextTarget,
    inputs: Mapping[str, NDArray[Any]],
    leads: Sequence[Sequence[int]],
    decoding: Decoding,
    until: float | None = None,
) -> list[Text]:
    """One text a row.

    Args:
        run: the model.
        answers: its tokens.
        inputs: its inputs of `n` rows, without the prefix.
        leads: of each row the tokens that its text goes on from, which are no part of the answer.
        decoding: how.
        until: `time.monotonic()` after which to give up; None: never.

    Raises:
        TimeoutError: it is later than `until`.
        ValueError: the model answered no numbers.
    """
    longest = decoding.max_length or answers.length
    starts = [np.array([BOUNDARY, *lead], np.int32) for lead in leads]
    network = _Network(run, answers.spec.vocabulary, inputs, starts, until)
    if decoding.method == "beam":
        found = beam_search(
            network,
            len(leads),
            begin=BOUNDARY,
            end=BOUNDARY,
            longest=longest,
            width=decoding.width,
            alpha=decoding.length_penalty,
        )
        return [
            Text(text.tokens, text.score * (len(text.tokens) + 1) ** decoding.length_penalty)
            for text in found
        ]
    greedy = decoding.method == "greedy" or decoding.temperature < COLDEST
    drawn = sample(
        network,
        len(leads),
        end=BOUNDARY,
        longest=longest,
        temperature=0.0 if greedy else decoding.temperature,
        most=decoding.top_k,
        seed=decoding.seed,
    )
    return [Text(tokens, score) for tokens, score in drawn]


class _Network:
    """The model as a decoder asks it: rows and what was written so far, to logarithms of the next token's chances."""

    def __init__(
        self,
        run: Run,
        vocabulary: int,
        inputs: Mapping[str, NDArray[Any]],
        leads: list[NDArray[np.int32]],
        until: float | None,
    ) -> None:
        self._run, self._vocabulary, self._inputs = run, vocabulary, inputs
        self._leads, self._until = leads, until

    def __call__(self, rows: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Float64 `(n, vocabulary)` for rows `(n,)` and prefixes `(n, steps)`, whose first token is the begin."""
        written = prefixes[:, 1:].astype(np.int32)
        ends = np.array([len(self._leads[row]) for row in rows.tolist()]) + written.shape[1]
        whole = np.zeros((len(rows), int(ends.max())), np.int32)
        for place, row in enumerate(rows.tolist()):
            whole[place, : ends[place]] = np.concatenate([self._leads[row], written[place]])
        chances = self._asked(rows, whole, ends - 1).astype(np.float64)
        if not np.isfinite(chances).all():
            raise ValueError("the model answered probabilities that are not finite")
        logs = np.log(
            np.maximum(chances, np.finfo(np.float32).tiny)
        )  # a chance too small for float32 is no 0
        logs[:, UNSEEN] = -np.inf  # there is no text for it
        return np.asarray(logs)

    def _asked(
        self, rows: NDArray[np.int64], whole: NDArray[np.int32], last: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The chances after the last token of each row, so many rows at a time that memory is bounded."""
        found: list[NDArray[np.float32]] = []
        size = max(1, MOST_NUMBERS // (whole.shape[1] * self._vocabulary))
        for start in range(0, len(rows), size):
            if self._until is not None and time.monotonic() > self._until:
                raise TimeoutError("the time for a text is over")
            part = slice(start, start + size)
            given = {name: array[rows[part]] for name, array in self._inputs.items()}
            answered = self._run(given | {PREFIX: whole[part]})
            found.append(answered[np.arange(len(answered)), last[part]])
        return np.concatenate(found)
