"""The most probable texts, token by token: beam search; with width 1 it is greedy decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Log-probabilities of the next token `(n, vocabulary)`, from row numbers `(n,)` and their prefixes `(n, steps)`.
NextToken = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]


@dataclass(frozen=True)
class Decoded:
    """A row's text: its tokens without begin and end, and its score, log-probability / length ** alpha."""

    tokens: tuple[int, ...]
    score: float


def beam_search(
    next_token: NextToken,
    rows: int,
    *,
    begin: int,
    end: int,
    longest: int,
    width: int = 1,
    alpha: float = 0.0,
) -> list[Decoded]:
    """The best text found for each row.

    Each step keeps the `width` best continuations. The best finished text is remembered, and a row is done when none of
    its prefixes can beat it. Scores are divided by length ** alpha (with the end token), as in Wu et al., "Google's
    Neural Machine Translation System", 2016, without its constant 5; of equal scores the smaller token wins. A text
    ends after `longest` tokens.

    Args:
        next_token: the network; it is called once per step for all prefixes.
        rows: number of rows, each with a text of its own.
        begin: the token that every prefix begins with.
        end: the token that ends a text.
        longest: the largest number of tokens, without begin and end.
        width: prefixes kept per row.
        alpha: 0 compares sums, 1 means per token; a higher value favours longer texts.
    """
    prefixes = np.full((rows, 1, 1), begin, np.int64)
    scores = np.zeros((rows, 1))
    best = [Decoded((), -np.inf)] * rows
    alive = np.arange(rows)
    for step in range(1, longest + 2):
        kept = scores.shape[1]
        flat = prefixes.reshape(len(alive) * kept, -1)
        logs = next_token(np.repeat(alive, kept), flat).reshape(len(alive), kept, -1)
        if step == longest + 1:  # only the end may follow
            _finish(best, alive, prefixes, scores + logs[:, :, end], step, alpha)
            break
        _finish(best, alive, prefixes, scores + logs[:, :, end], step, alpha)
        prefixes, scores = _extended(prefixes, scores, logs, end, width)
        hopeful = scores[:, 0] / longest_divisor(step, longest, alpha) > [best[row].score for row in alive]
        alive, prefixes, scores = alive[hopeful], prefixes[hopeful], scores[hopeful]
        if not len(alive):
            break
    return best


def longest_divisor(step: int, longest: int, alpha: float) -> float:
    """The divisor that gives a prefix of `step` tokens its highest possible score: no continuation can beat that."""
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


def _extended(
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
