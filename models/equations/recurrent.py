"""A simple recurrent cell (Elman's), unrolled through time."""

from __future__ import annotations

import numpy as np

from tidegate.models.equations import Array


def recurrent(x: Array, weights: Array, recurrent_weights: Array, bias: Array) -> Array:
    r"""\( h_t = \tanh(x_t W + h_{t-1} U + b) \), with \( h_0 = 0 \).

    Source: [GBC] equations 10.8 and 10.9; Elman, "Finding Structure in Time", 1990.

    Args:
        x: (rows, steps, features).
        weights: W, (features, units).
        recurrent_weights: U, (units, units).
        bias: b, (units,).

    Returns:
        Every state, (rows, steps, units); the last is `[:, -1]`.
    """
    states = np.zeros((*x.shape[:2], bias.size))
    state = np.zeros((len(x), bias.size))
    for step in range(x.shape[1]):
        state = np.tanh(x[:, step] @ weights + state @ recurrent_weights + bias)
        states[:, step] = state
    return states


def recurrent_backward(
    gradient: Array, x: Array, states: Array, weights: Array, recurrent_weights: Array
) -> tuple[Array, Array, Array, Array]:
    r"""Backpropagation through time: from the last step to the first, with \( g_t \) the gradient given for \( h_t \),

    \[ \delta_t = \big( g_t + \delta_{t+1} U^\top \big) \odot (1 - h_t^2), \qquad
       \frac{\partial L}{\partial W} = \sum_t x_t^\top \delta_t, \qquad
       \frac{\partial L}{\partial U} = \sum_t h_{t-1}^\top \delta_t, \qquad
       \frac{\partial L}{\partial b} = \sum_t \delta_t, \qquad
       \frac{\partial L}{\partial x_t} = \delta_t W^\top \]

    Source: [GBC] section 10.2.2; Werbos, "Backpropagation Through Time", 1990.

    Args:
        gradient: of every state, (rows, steps, units); zeros where only the last one counts.
        states: what `recurrent` returned.

    Returns:
        Gradients of x, weights, recurrent_weights and bias, in their shapes.
    """
    of_x = np.zeros_like(x)
    of_weights, of_recurrent = np.zeros_like(weights), np.zeros_like(recurrent_weights)
    of_bias = np.zeros(states.shape[-1])
    later = np.zeros_like(states[:, 0])
    for step in reversed(range(x.shape[1])):
        before = states[:, step - 1] if step else np.zeros_like(later)
        delta = (gradient[:, step] + later) * (1.0 - states[:, step] ** 2)
        of_weights += x[:, step].T @ delta
        of_recurrent += before.T @ delta
        of_bias += delta.sum(axis=0)
        of_x[:, step] = delta @ weights.T
        later = delta @ recurrent_weights.T
    return of_x, of_weights, of_recurrent, of_bias
