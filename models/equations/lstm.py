"""A long short-term memory cell with its four gates, unrolled through time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tidegate.models.equations import Array
from tidegate.models.equations.activations import sigmoid


class Trace(NamedTuple):
    """The values of an LSTM at every step, (rows, steps, units) each; `states` h is its output."""

    states: Array
    cells: Array
    input_gates: Array
    forget_gates: Array
    candidates: Array
    output_gates: Array


def lstm(x: Array, weights: Array, recurrent_weights: Array, bias: Array) -> Trace:
    r"""From \( h_0 = c_0 = 0 \), at each step

    \[ \begin{aligned}
       i_t &= \sigma(x_t W_i + h_{t-1} U_i + b_i) && \text{input gate} \\
       f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) && \text{forget gate} \\
       \tilde c_t &= \tanh(x_t W_c + h_{t-1} U_c + b_c) && \text{candidate} \\
       o_t &= \sigma(x_t W_o + h_{t-1} U_o + b_o) && \text{output gate} \\
       c_t &= f_t \odot c_{t-1} + i_t \odot \tilde c_t && \text{the cell's memory} \\
       h_t &= o_t \odot \tanh(c_t)
       \end{aligned} \]

    Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; the forget gate: Gers, Schmidhuber, Cummins,
    "Learning to Forget", 2000; in this form [GBC] equations 10.40 to 10.44.

    Args:
        x: (rows, steps, features).
        weights: \( W_i, W_f, W_c, W_o \) side by side, (features, 4 units).
        recurrent_weights: \( U_i, U_f, U_c, U_o \) side by side, (units, 4 units).
        bias: \( b_i, b_f, b_c, b_o \), (4 units,).
    """
    rows, steps, units = len(x), x.shape[1], bias.size // 4
    trace = Trace(*np.zeros((6, rows, steps, units)))
    state, cell = np.zeros((2, rows, units))
    for step in range(steps):
        z_i, z_f, z_c, z_o = np.split(x[:, step] @ weights + state @ recurrent_weights + bias, 4, axis=1)
        i, f, candidate, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_c), sigmoid(z_o)
        cell = f * cell + i * candidate
        state = o * np.tanh(cell)
        for kept, value in zip(trace, (state, cell, i, f, candidate, o), strict=True):
            kept[:, step] = value
    return trace


def lstm_backward(
    gradient: Array, x: Array, trace: Trace, weights: Array, recurrent_weights: Array
) -> tuple[Array, Array, Array, Array]:
    r"""Backpropagation through time, from the last step to the first, \( g_t \) being the gradient given for \( h_t \):

    \[ \begin{aligned}
       \delta h_t &= g_t + \delta z_{t+1} U^\top \\
       \delta c_t &= \delta h_t \odot o_t \odot (1 - \tanh^2 c_t) + \delta c_{t+1} \odot f_{t+1} \\
       \delta z^i_t &= \delta c_t \odot \tilde c_t \odot i_t (1 - i_t), \quad
       \delta z^f_t = \delta c_t \odot c_{t-1} \odot f_t (1 - f_t) \\
       \delta z^c_t &= \delta c_t \odot i_t \odot (1 - \tilde c_t^2), \quad
       \delta z^o_t = \delta h_t \odot \tanh(c_t) \odot o_t (1 - o_t)
       \end{aligned} \]

    and with \( \delta z_t \) these four side by side, the gradients of W, U, b and x are as in `recurrent_backward`.
    Source: Greff et al., "LSTM: A Search Space Odyssey", 2017, section II.B (without peepholes).

    Args:
        gradient: of every state, (rows, steps, units); zeros where only the last one counts.
        trace: what `lstm` returned.

    Returns:
        Gradients of x, weights, recurrent_weights and bias, in their shapes.
    """
    of_x = np.zeros_like(x)
    of_weights, of_recurrent = np.zeros_like(weights), np.zeros_like(recurrent_weights)
    of_bias = np.zeros(weights.shape[1])
    later_state = later_cell = np.zeros_like(trace.states[:, 0])
    for step in reversed(range(x.shape[1])):
        before = trace.states[:, step - 1] if step else np.zeros_like(later_state)
        delta, later_cell = _step_backward(gradient[:, step] + later_state, later_cell, trace, step)
        of_weights += x[:, step].T @ delta
        of_recurrent += before.T @ delta
        of_bias += delta.sum(axis=0)
        of_x[:, step] = delta @ weights.T
        later_state = delta @ recurrent_weights.T
    return of_x, of_weights, of_recurrent, of_bias


def _step_backward(of_state: Array, of_later_cell: Array, trace: Trace, step: int) -> tuple[Array, Array]:
    """One step: the gradient of the four gates' sums, (rows, 4 units), and of the cell before."""
    _, cell, i, f, candidate, o = (kept[:, step] for kept in trace)
    cell_before = trace.cells[:, step - 1] if step else np.zeros_like(cell)
    squashed = np.tanh(cell)
    of_cell = of_state * o * (1.0 - squashed**2) + of_later_cell
    of_sums = (
        of_cell * candidate * i * (1.0 - i),
        of_cell * cell_before * f * (1.0 - f),
        of_cell * i * (1.0 - candidate**2),
        of_state * squashed * o * (1.0 - o),
    )
    return np.concatenate(of_sums, axis=1), of_cell * f
