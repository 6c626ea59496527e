"""Sampling of tokens with a temperature, optionally only among the most probable ones (top-k)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Log-probabilities of the next token `(n, vocabulary)`, from row numbers `(n,)` and their prefixes `(n, steps)`.
NextToken = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]

# Called with a row's number and its next token.
Written = Callable[[int, int], None]


def sample(
    next_token: NextToken,
    rows: int,
    *,
    end: int,
    longest: int,
    temperature: float,
    top_k: int | None = None,
    seed: int | None = None,
    written: Written | None = None,
) -> list[tuple[tuple[int, ...], float]]:
    """One text per row, token by token; temperature 0 is greedy decoding.

    Each row has its own random generator, so that a text does not depend on the other rows of the call; with a seed all
    rows have the same draws.

    Args:
        next_token: the network; it is called once per step for all unfinished rows.
        rows: number of rows, each with a text of its own.
        end: the token that ends a text; every prefix begins with it, too.
        longest: the largest number of tokens; a longer text is cut.
        temperature, top_k: see `tempered`.
        seed: of the draws; None: different draws each time.
        written: called with each token, also the end, and its row; what it raises ends the call.

    Returns:
        For each row the tokens without the end, and their log-probability at temperature 1, including that of the end
        if it was drawn.
    """
    draws = [np.random.default_rng(seed) for _ in range(rows)]
    prefixes = np.full((rows, 1), end, np.int64)
    scores, alive = np.zeros(rows), np.arange(rows)
    texts: list[tuple[int, ...]] = [()] * rows
    for _ in range(longest):
        logs = next_token(alive, prefixes)
        probabilities = tempered(np.exp(logs), temperature, top_k)
        tokens = np.array(
            [draw(p[None], draws[row])[0] for p, row in zip(probabilities, alive.tolist(), strict=True)]
        )
        if written is not None:
            for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
                written(row, token)
        scores[alive] += logs[np.arange(len(alive)), tokens]
        prefixes = np.concatenate([prefixes, tokens[:, None]], axis=1)
        going = tokens != end
        alive, prefixes = alive[going], prefixes[going]
        for row, prefix in zip(alive.tolist(), prefixes.tolist(), strict=True):
            texts[row] = tuple(prefix[1:])
        if not len(alive):
            break
    return list(zip(texts, scores.tolist(), strict=True))


def tempered(
    probabilities: NDArray[np.floating], temperature: float, top_k: int | None = None
) -> NDArray[np.float64]:
    """Probabilities `(n, vocabulary)` at a temperature: p ** (1 / T) over its sum, float64.

    The Boltzmann distribution of Ackley, Hinton, Sejnowski, "A Learning Algorithm for Boltzmann Machines", 1985.

    Args:
        probabilities: `(n, vocabulary)`, the sum of each row is 1.
        temperature: 0 leaves only the most probable token (the first of equal ones), 1 changes nothing.
        top_k: only this many of the most probable tokens may be drawn (Fan, Lewis, Dauphin, "Hierarchical Neural Story
            Generation", ACL 2018); None means all.

    Raises:
        ValueError: a negative temperature, or `top_k` below 1.
    """
    if temperature < 0 or (top_k is not None and top_k < 1):
        raise ValueError(
            f"temperature is {temperature} and top_k is {top_k}; expected at least 0, and at least 1 or None"
        )
    if temperature == 0:
        only = np.zeros(probabilities.shape)
        np.put_along_axis(only, probabilities.argmax(axis=1, keepdims=True), 1.0, axis=1)
        return only
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities.astype(np.float64)) / temperature
    if top_k is not None and top_k < logs.shape[1]:
        order = np.argsort(-logs, axis=1, kind="stable")[:, top_k:]
        np.put_along_axis(logs, order, -np.inf, axis=1)
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def draw(probabilities: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """One token per row `(n,)`, by inverting the distribution function at a uniform random number."""
    cumulated = probabilities.cumsum(axis=1)
    uniform = random.random((len(probabilities), 1)) * cumulated[:, -1:]
    return np.asarray((cumulated <= uniform).sum(axis=1), np.int64)
