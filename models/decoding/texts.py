"""Texts from a model that predicts the next token; a bundle's texts are decoded only here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.decoding.beam import beam_search
from tidegate.models.decoding.cache import PrefixReader, together
from tidegate.models.decoding.cached_network import CachedNetwork
from tidegate.models.decoding.probabilities import log_probabilities
from tidegate.models.decoding.sampling import NextToken, Written, sample
from tidegate.models.decoding.settings import Decoding
from tidegate.models.preprocessing.target.text_target import BOUNDARY, PREFIX, TextTarget

MOST_NUMBERS = 1 << 24  # probabilities in memory at once
# A lower temperature is treated as greedy: one token has all probability, and powers would overflow.
COLDEST = 1e-3
# From model inputs by name to probabilities of the next token after each step, float32 `(n, steps, vocabulary)`.
Run = Callable[[dict[str, NDArray[Any]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Text:
    """A generated text: its tokens and its log-probability, including that of the end token if it was reached."""

    tokens: tuple[int, ...]
    log_probability: float


def decode(
    run: Run,
    text_target: TextTarget,
    inputs: Mapping[str, NDArray[Any]],
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    until: float | None = None,
    written: Written | None = None,
) -> list[Text]:
    """One text per row.

    Args:
        run: the model; a PrefixReader reads each token once, all others the whole text again for each token.
        text_target: its tokens.
        inputs: model inputs of `n` rows, without `prefix`.
        prompts: for each row the tokens to continue; they are not part of the returned text.
        decoding: the method and its settings.
        until: the `time.monotonic()` after which to give up; None: never.
        written: called with each row and token as soon as it is drawn, the end too; never by beam.

    Raises:
        TimeoutError: it is later than `until`.
        ValueError: the model returned numbers that are not finite.
    """
    longest = decoding.max_length or text_target.length
    starts = [np.array([BOUNDARY, *prompt], np.int32) for prompt in prompts]
    network: NextToken
    if not isinstance(run, PrefixReader):
        network = _Network(run, text_target.spec.vocabulary, inputs, starts, until)
        return _decoded(network, len(starts), longest, decoding, written)
    size = together(run.model, max(map(len, starts), default=1) + longest) // _kept_of_a_row(decoding) or 1
    found: list[Text] = []
    for place in range(0, len(starts), size):
        some = starts[place : place + size]
        network = CachedNetwork(run.model, some, until)
        found += _decoded(network, len(some), longest, decoding, _from(place, written))
    return found


def _kept_of_a_row(decoding: Decoding) -> int:
    return decoding.width if decoding.method == "beam" else 1


def _from(first: int, written: Written | None) -> Written | None:
    """The same, for rows that are counted from `first`."""
    return written and (lambda row, token: written(first + row, token))


def _decoded(
    network: NextToken, rows: int, longest: int, decoding: Decoding, written: Written | None
) -> list[Text]:
    if decoding.method == "beam":
        found = beam_search(
            network,
            rows,
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
        rows,
        end=BOUNDARY,
        longest=longest,
        temperature=0.0 if greedy else decoding.temperature,
        top_k=decoding.top_k,
        seed=decoding.seed,
        written=written,
    )
    return [Text(tokens, score) for tokens, score in drawn]


class _Network:
    """The model as the decoders call it: rows and their tokens so far, to log-probabilities of the next token."""

    def __init__(
        self,
        run: Run,
        vocabulary: int,
        inputs: Mapping[str, NDArray[Any]],
        starts: list[NDArray[np.int32]],
        until: float | None,
    ) -> None:
        self._run, self._vocabulary, self._inputs = run, vocabulary, inputs
        self._starts, self._until = starts, until

    def __call__(self, rows: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Float64 `(n, vocabulary)` for rows `(n,)` and prefixes `(n, steps)`, whose first token is BOUNDARY."""
        written = prefixes[:, 1:].astype(np.int32)
        ends = np.array([len(self._starts[row]) for row in rows.tolist()]) + written.shape[1]
        whole = np.zeros((len(rows), int(ends.max())), np.int32)
        for place, row in enumerate(rows.tolist()):
            whole[place, : ends[place]] = np.concatenate([self._starts[row], written[place]])
        return log_probabilities(self._next(rows, whole, ends - 1))

    def _next(
        self, rows: NDArray[np.int64], whole: NDArray[np.int32], last: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The probabilities after the last token of each row, in batches, so that memory is bounded."""
        found: list[NDArray[np.float32]] = []
        size = max(1, MOST_NUMBERS // (whole.shape[1] * self._vocabulary))
        for start in range(0, len(rows), size):
            if self._until is not None and time.monotonic() > self._until:
                raise TimeoutError("the time for a text is over")
            part = slice(start, start + size)
            inputs = {name: array[rows[part]] for name, array in self._inputs.items()}
            answered = self._run(inputs | {PREFIX: whole[part]})
            found.append(answered[np.arange(len(answered)), last[part]])
        return np.concatenate(found)
