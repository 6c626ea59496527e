"""Tokens drawn at random: more daring with a higher temperature, and only among the most probable ones if asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Logarithms of the next token's probabilities `(n, vocabulary)` for prefixes `(n, steps)` of the rows `(n,)`.
Next = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


def sample(
    following: Next,
    rows: int,
    *,
    end: int,
    longest: int,
    temperature: float,
    most: int | None = None,
    seed: int | None = None,
) -> list[tuple[tuple[int, ...], float]]:
    """A text a row, token by token; a temperature of 0 is greedy decoding.

    Each row has its own draws, so that a text does not depend on the company it is asked in; with a seed they are the
    same for every row.

    Args:
        following: the network; it is asked for all unfinished rows of a step at once.
        rows: number of rows, each a text of its own.
        end: the token that ends a text, which every prefix begins with too.
        longest: tokens of a text; one that is not over by then is cut.
        temperature, most: see `tempered`.
        seed: of the draws; None: other ones each time.

    Returns:
        Of each row the tokens without the end, and the logarithm of their probability at temperature 1, the end's
        included where it was drawn.
    """
    draws = [np.random.default_rng(seed) for _ in range(rows)]
    prefixes = np.full((rows, 1), end, np.int64)
    scores, alive = np.zeros(rows), np.arange(rows)
    texts: list[tuple[int, ...]] = [()] * rows
    for _ in range(longest):
        logs = following(alive, prefixes)
        chances = tempered(np.exp(logs), temperature, most)
        tokens = np.array(
            [draw(chance[None], draws[row])[0] for chance, row in zip(chances, alive.tolist(), strict=True)]
        )
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
    probabilities: NDArray[np.floating], temperature: float, most: int | None = None
) -> NDArray[np.float64]:
    """Probabilities `(n, vocabulary)` at a temperature: p ** (1 / T) over its sum, float64.

    The Boltzmann distribution of Ackley, Hinton, Sejnowski, "A Learning Algorithm for Boltzmann Machines", 1985.

    Args:
        probabilities: `(n, vocabulary)`, each row's sum 1.
        temperature: 0 leaves only the most probable token (the first of equal ones), 1 changes nothing.
        most: tokens that may be drawn, the most probable ones (Fan, Lewis, Dauphin, "Hierarchical Neural Story
            Generation", ACL 2018); None means all.

    Raises:
        ValueError: a negative temperature, or `most` below 1.
    """
    if temperature < 0 or (most is not None and most < 1):
        raise ValueError(
            f"temperature is {temperature} and most is {most}; expected at least 0, and at least 1 or None"
        )
    if temperature == 0:
        return np.asarray(np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)], np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities.astype(np.float64)) / temperature
    if most is not None and most < logs.shape[1]:
        order = np.argsort(-logs, axis=1, kind="stable")[:, most:]
        np.put_along_axis(logs, order, -np.inf, axis=1)
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def draw(probabilities: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """One token a row `(n,)` by inverting the distribution function at a uniform number."""
    reached = probabilities.cumsum(axis=1)
    asked = random.random((len(probabilities), 1)) * reached[:, -1:]
    return np.asarray((reached <= asked).sum(axis=1), np.int64)
