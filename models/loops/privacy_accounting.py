"""The privacy spent by DP-SGD: Renyi differential privacy of the subsampled Gaussian mechanism.

Sources: Abadi et al., "Deep Learning with Differential Privacy" (2016); Mironov, Talwar and Zhang, "Renyi Differential
Privacy of the Sampled Gaussian Mechanism" (2019), for each step; Canonne, Kamath and Steinke, "The Discrete Gaussian
for Differential Privacy" (2020), proposition 12, for the epsilon of a delta.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# No dp-accounting: it asks for attrs below 24, and other packages here for a newer one. Tests have its values.
HIGHEST = 512
ORDERS: Floats = np.concatenate([np.arange(1.1, 16, 0.1), np.arange(16.0, HIGHEST + 1)])


def epsilon(rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    """Return the epsilon of a number of steps; neighbouring data sets differ by adding or removing one row.

    Args:
        rate: probability of each row to be in a batch, independent of all others.
        noise_multiplier: standard deviation of the noise over the clipping norm.
        steps: weight updates.
        delta: probability that the guarantee does not hold.
    """
    if steps == 0:
        return 0.0
    spent = steps * renyi(rate, noise_multiplier)
    converted = spent + np.log1p(-1 / ORDERS) - np.log(delta * ORDERS) / (ORDERS - 1)
    return max(0.0, float(converted.min()))


def renyi(rate: float, noise_multiplier: float) -> Floats:
    r"""Return the Renyi divergence of one step at each of `ORDERS`.

    For an integer order it is \( \frac{1}{\alpha - 1} \log \sum_k \binom{\alpha}{k} (1 - q)^{\alpha - k} q^k
    e^{(k^2 - k) / 2 \sigma^2} \) (Mironov et al., section 3.3). The logarithm is convex in the order, so that between
    two whole ones the straight line is an upper bound.
    """
    whole = np.array([0.0] + [_log_moment(order, rate, noise_multiplier) for order in range(2, HIGHEST + 1)])
    return np.asarray(np.interp(ORDERS, np.arange(1, HIGHEST + 1), whole) / (ORDERS - 1))


def _log_moment(order: int, rate: float, noise_multiplier: float) -> float:
    k = np.arange(order + 1.0)
    grown = (k * k - k) / (2 * noise_multiplier**2)
    if rate >= 1:
        return float(grown[-1])
    choose = np.cumsum(np.log((order - k[:-1]) / (k[:-1] + 1)))
    terms = np.concatenate([[0.0], choose]) + (order - k) * math.log1p(-rate) + k * math.log(rate) + grown
    largest = terms.max()
    return float(largest + np.log(np.exp(terms - largest).sum()))
