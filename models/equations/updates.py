r"""How a parameter \( \theta \) moves along its gradient \( g = \partial L / \partial \theta \), in place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tidegate.models.equations import Array


def gradient_descent(parameter: Array, gradient: Array, rate: float) -> None:
    r"""\( \theta \leftarrow \theta - \eta g \), g being the gradient over all rows and \( \eta \) the learning rate.

    Source: Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées", 1847;
    [GBC] equation 4.5.
    """
    parameter -= rate * gradient


def batches(rows: int, size: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    r"""The row numbers of each batch of one epoch of SGD: every row once, in random order.

    Stochastic gradient descent is the same step \( \theta \leftarrow \theta - \eta \hat g \) with
    \( \hat g = \frac{1}{m} \sum_{n \in \text{batch}} \nabla_\theta L_n \), the gradient over m rows drawn at random,
    whose expected value is that over all. Source: Robbins, Monro, "A Stochastic Approximation Method", 1951;
    [GBC] algorithm 8.1.

    Args:
        rows: how many there are.
        size: m; the last batch may be smaller.
        random: draws the order.
    """
    order = random.permutation(rows)
    for start in range(0, rows, size):
        yield order[start : start + size]


def momentum(
    parameter: Array,
    velocity: Array,
    gradient: Array,
    rate: float,
    momentum: float,
    nesterov: bool = False,
) -> None:
    r"""\( v \leftarrow \mu v - \eta g, \quad \theta \leftarrow \theta + v \), \( \mu \) being the momentum.

    Nesterov's looks ahead: \( \theta \leftarrow \theta + \mu v - \eta g \) with the new v.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever, Martens, Dahl,
    Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013, equations 1 to 4;
    [GBC] algorithms 8.2 and 8.3.

    Args:
        parameter, velocity, gradient: of one shape; the first two change. The velocity begins as zeros.
    """
    velocity *= momentum
    velocity -= rate * gradient
    parameter += momentum * velocity - rate * gradient if nesterov else velocity
