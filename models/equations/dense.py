"""A dense (fully connected) layer."""

from __future__ import annotations

import numpy as np

from tidegate.models.equations import Array


def dense(x: Array, weights: Array, bias: Array) -> Array:
    r"""\( z = x W + b \), so \( z_{nj} = \sum_i x_{ni} W_{ij} + b_j \).

    Source: [B] equation 5.2; [GBC] algorithm 6.3.

    Args:
        x: (rows, inputs), or more axes before the last.
        weights: W, (inputs, units).
        bias: b, (units,).

    Returns:
        (rows, units).
    """
    return np.asarray(x @ weights + bias)


def dense_backward(gradient: Array, x: Array, weights: Array) -> tuple[Array, Array, Array]:
    r"""Backpropagation through a dense layer, with \( g = \partial L / \partial z \):

    \[ \frac{\partial L}{\partial x} = g W^\top, \qquad
       \frac{\partial L}{\partial W} = x^\top g, \qquad
       \frac{\partial L}{\partial b_j} = \sum_n g_{nj} \]

    Source: [B] equations 5.53 and 5.56; [GBC] algorithm 6.4.

    Returns:
        Gradients of x, weights and bias, in their shapes.
    """
    flat = gradient.reshape(-1, gradient.shape[-1])
    inputs = x.reshape(-1, x.shape[-1])
    return np.asarray(gradient @ weights.T), inputs.T @ flat, flat.sum(axis=0)
