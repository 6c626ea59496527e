r"""Activations, each with its derivative in terms of its output \(a\), which is all that the backward pass needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tidegate.models.equations import Array


class Activation(NamedTuple):
    """`forward(z) -> a`, and `backward(gradient of a, a) -> gradient of z`; float64, all of one shape."""

    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array], Array]


def linear(z: Array) -> Array:
    r"""\( a = z \): no activation, the output of a regression."""
    return z


def linear_backward(gradient: Array, a: Array) -> Array:
    r"""\( \partial L / \partial z = \partial L / \partial a \)."""
    del a
    return gradient


def sigmoid(z: Array) -> Array:
    r"""\( \sigma(z) = \frac{1}{1 + e^{-z}} \), computed as \( \frac12 (1 + \tanh \frac z2) \), which never overflows.

    Source: [B] equation 4.59; exercise 3.1 for the relation to tanh.
    """
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def sigmoid_backward(gradient: Array, a: Array) -> Array:
    r"""\( \frac{\partial L}{\partial z} = \frac{\partial L}{\partial a} \, a (1 - a) \). Source: [B] equation 4.88."""
    return gradient * a * (1.0 - a)


def tanh(z: Array) -> Array:
    r"""\( \tanh z = \frac{e^z - e^{-z}}{e^z + e^{-z}} \). Source: [B] equation 5.59."""
    return np.asarray(np.tanh(z))


def tanh_backward(gradient: Array, a: Array) -> Array:
    r"""\( \frac{\partial L}{\partial z} = \frac{\partial L}{\partial a} (1 - a^2) \). Source: [B] equation 5.60."""
    return gradient * (1.0 - a**2)


def relu(z: Array) -> Array:
    r"""\( a = \max(0, z) \). Source: [GBC] section 6.3.1; Nair, Hinton, ICML 2010."""
    return np.maximum(z, 0.0)


def relu_backward(gradient: Array, a: Array) -> Array:
    r"""\( \frac{\partial L}{\partial z} = \frac{\partial L}{\partial a} [a > 0] \); 0 is taken at the kink.

    Source: [GBC] section 6.3.1.
    """
    return gradient * (a > 0)


def softmax(z: Array) -> Array:
    r"""\( a_i = \frac{e^{z_i}}{\sum_j e^{z_j}} \) over the last axis.

    The largest \(z_i\) is subtracted first, which prevents overflow and does not change the result.
    Source: [B] equation 4.62; [GBC] section 4.1 for the subtraction.
    """
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def softmax_backward(gradient: Array, a: Array) -> Array:
    r"""\( \frac{\partial L}{\partial z_i} = a_i \big( g_i - \sum_j g_j a_j \big) \), \( g = \partial L / \partial a \).

    Follows from \( \partial a_j / \partial z_i = a_j (\delta_{ij} - a_i) \). Source: [B] equation 4.106.
    """
    return np.asarray(a * (gradient - (gradient * a).sum(axis=-1, keepdims=True)))


ACTIVATIONS = {
    "linear": Activation(linear, linear_backward),
    "sigmoid": Activation(sigmoid, sigmoid_backward),
    "tanh": Activation(tanh, tanh_backward),
    "relu": Activation(relu, relu_backward),
    "softmax": Activation(softmax, softmax_backward),
}
