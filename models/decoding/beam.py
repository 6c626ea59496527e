"""The most probable texts, token by token: beam search, of which a width of 1 is greedy decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Logarithms of the next token's probabilities `(n, vocabulary)` for prefixes `(n, steps)` of the rows `(n,)`.
Next = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]


@dataclass(frozen=True)
class Decoded:
    """A row's text: its tokens without begin and end, and its score, the logarithm divided by length ** alpha."""

    tokens: tuple[int, ...]
    score: float


def beam_search(
    following: Next, rows: int, *, begin: int, end: int, longest: int, width: int = 1, alpha: float = 0.0
) -> list[Decoded]:
    """The best text found for each row.

    Each step keeps the `width` best of all continuations; one that ends is kept aside, and what is left counts against
    it. Scores are divided by length ** alpha (end counted), as in Wu et al., "Google's Neural Machine Translation
    System", 2016, without its constant 5; equal scores keep the smaller token. After `longest` tokens a text ends.

    Args:
        following: the network; it is asked for all prefixes of a step at once.
        rows: number of rows, each a text of its own.
        begin: the token that every prefix begins with.
        end: the token that ends a text.
        longest: tokens of a text, without begin and end.
        width: prefixes kept a row.
        alpha: 0 compares sums, 1 means a token; longer texts gain with it.
    """
    prefixes = np.full((rows, 1, 1), begin, np.int64)
    scores = np.zeros((rows, 1))
    best = [Decoded((), -np.inf)] * rows
    alive = np.arange(rows)
    for step in range(1, longest + 2):
        kept = scores.shape[1]
        asked = prefixes.reshape(len(alive) * kept, -1)
        logs = following(np.repeat(alive, kept), asked).reshape(len(alive), kept, -1)
        if step == longest + 1:  # nothing but the end may follow
            _finish(best, alive, prefixes, scores + logs[:, :, end], step, alpha)
            break
        _finish(best, alive, prefixes, scores + logs[:, :, end], step, alpha)
        prefixes, scores = _continued(prefixes, scores, logs, end, width)
        hopeful = scores[:, 0] / longest_divisor(step, longest, alpha) > [best[row].score for row in alive]
        alive, prefixes, scores = alive[hopeful], prefixes[hopeful], scores[hopeful]
        if not len(alive):
            break
    return best


def longest_divisor(step: int, longest: int, alpha: float) -> float:
    """The divisor that is kindest to a prefix of `step` tokens: no text that grows from it can score higher."""
    return float((longest + 1) ** alpha if alpha > 0 else max(step, 1) ** alpha)


def _finish(
    best: list[Decoded],
    alive: NDArray[np.int64],
    prefixes: NDArray[np.int64],
    ended: Floats,
    step: int,
    alpha: float,
) -> None:
    found = ended / step**alpha
    place = found.argmax(axis=1)
    for index, row in enumerate(alive.tolist()):
        score = float(found[index, place[index]])
        if score > best[row].score:
            best[row] = Decoded(tuple(prefixes[index, place[index], 1:].tolist()), score)


def _continued(
    prefixes: NDArray[np.int64], scores: Floats, logs: Floats, end: int, width: int
) -> tuple[NDArray[np.int64], Floats]:
    rows, _, vocabulary = logs.shape
    total = scores[:, :, None] + logs
    total[:, :, end] = -np.inf
    flat = total.reshape(rows, -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, : min(width, flat.shape[1])]
    chosen = np.take_along_axis(prefixes, (order // vocabulary)[:, :, None], axis=1)
    tokens = (order % vocabulary)[:, :, None]
    return np.concatenate([chosen, tokens], axis=2), np.take_along_axis(flat, order, axis=1)
