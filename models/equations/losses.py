r"""Losses: one number \(L_n\) per row, and the gradient of its mean \( L = \frac1N \sum_n w_n L_n \).

\(w_n\) is 1, or the row's weight (class weights). `predictions` are the network's outputs after their activation,
(rows, units); `target` has the same shape. Each loss returns one value per row (rows,) and its gradient with respect
to the predictions (rows, units), without weights and not divided by the number of rows; `mean_loss` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tidegate.models.equations import Array

Loss: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]

SMALLEST = 1e-300  # keeps a probability that underflowed from giving log 0
NEAREST_TO_ONE = 1.0 - 2.0**-53


def mean_loss(
    loss: Loss, predictions: Array, target: Array, weights: Array | None = None
) -> tuple[float, Array]:
    r"""\( L = \frac1N \sum_n w_n L_n \) and \( \partial L / \partial \hat y \), the start of the backward pass.

    Args:
        loss: one of this module's.
        predictions, target: (rows, units).
        weights: one weight per row (rows,); None: all 1.
    """
    each, gradient = loss(predictions, target)
    share = np.full(len(each), 1.0 / len(each)) if weights is None else weights / len(each)
    return float(each @ share), gradient * share[:, np.newaxis]


def mean_squared_error(predictions: Array, target: Array) -> tuple[Array, Array]:
    r"""\( L_n = \frac1K \sum_k (\hat y_{nk} - y_{nk})^2 \), with gradient \( \frac2K (\hat y_{nk} - y_{nk}) \).

    Source: [GBC] section 5.1.4; [B] equation 5.14 (there halved, and a sum).
    """
    difference = predictions - target
    return (difference**2).mean(axis=1), 2.0 * difference / difference.shape[1]


def cross_entropy(predictions: Array, target: Array) -> tuple[Array, Array]:
    r"""\( L_n = -\sum_k y_{nk} \ln \hat y_{nk} \), with gradient \( -y_{nk} / \hat y_{nk} \).

    After a softmax the two derivatives together are \( \hat y - y \), see `softmax_backward`.
    `target` holds ones and zeros, or any distribution over the classes. Source: [B] equations 4.108, 4.109.
    """
    safe = np.maximum(predictions, SMALLEST)
    return -(target * np.log(safe)).sum(axis=1), -target / safe


def binary_cross_entropy(predictions: Array, target: Array) -> tuple[Array, Array]:
    r"""\( L_n = -y_n \ln \hat y_n - (1 - y_n) \ln(1 - \hat y_n) \), the mean over units where there are several.

    The gradient is \( \frac{\hat y_n - y_n}{\hat y_n (1 - \hat y_n)} \). Source: [B] equation 4.90. Exact while
    \( |z| < 36 \) in \( \hat y = \sigma(z) \): beyond, float64 has no number between \( \hat y \) and 1.
    """
    safe = np.clip(predictions, SMALLEST, NEAREST_TO_ONE)
    each = -target * np.log(safe) - (1.0 - target) * np.log1p(-safe)
    return each.mean(axis=1), (safe - target) / (safe * (1.0 - safe)) / safe.shape[1]


def hinge(predictions: Array, target: Array) -> tuple[Array, Array]:
    r"""\( L_n = \frac1K \sum_k \max(0, 1 - y_{nk} \hat y_{nk}) \) for \( y \in \{-1, 1\} \).

    The gradient is \( -y_{nk} / K \) where the margin \( y \hat y < 1 \), else 0. Source: [B] section 7.1.2;
    Cortes, Vapnik, "Support-Vector Networks", 1995.
    """
    margin = 1.0 - target * predictions
    return np.maximum(margin, 0.0).mean(axis=1), -target * (margin > 0) / target.shape[1]


def categorical_hinge(predictions: Array, target: Array) -> tuple[Array, Array]:
    r"""\( L_n = \max(0,\ 1 + \max_{k \ne c} \hat y_{nk} - \hat y_{nc}) \), \(c\) being the row's class; one-hot target.

    The gradient is 1 at the best wrong class and -1 at the right one where the loss is not 0. As in Keras a wrong class
    counts as at least 0. Source: Crammer, Singer, "On the Algorithmic Implementation of Multiclass Kernel-based
    Vector Machines", JMLR 2001.
    """
    right = (target * predictions).sum(axis=1)
    others = (1.0 - target) * predictions
    best = others.argmax(axis=1)
    each = 1.0 + others.max(axis=1) - right
    gradient = -target.copy()
    rows = np.arange(len(target))
    gradient[rows, best] += 1.0 - target[rows, best]
    return np.maximum(each, 0.0), gradient * (each > 0)[:, np.newaxis]


# By the names an experiment's `training.loss` knows; targets as `config.losses.encode_target` gives them.
LOSSES: dict[str, Loss] = {
    "mean_squared_error": mean_squared_error,
    "sparse_categorical_crossentropy": cross_entropy,
    "categorical_crossentropy": cross_entropy,
    "binary_crossentropy": binary_cross_entropy,
    "categorical_hinge": categorical_hinge,
    "hinge": hinge,
}
