"""Tokens drawn at random: more daring with a higher temperature, and only among the most probable ones if asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
