"""2-D convolution over images (rows, height, width, channels), stride 1."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tidegate.models.equations import Array

Padding = Literal["valid", "same"]


def convolution(x: Array, kernel: Array, bias: Array, padding: Padding = "valid") -> Array:
    r"""What networks call a convolution, a cross-correlation:

    \[ z_{nijo} = b_o + \sum_{u,v,c} x_{n,\,i+u,\,j+v,\,c} \, K_{uvco} \]

    "valid" keeps the places where the kernel fits, "same" surrounds the image by zeros, so that z is as large.
    Source: [GBC] equations 9.6 and 9.7.

    Args:
        x: (rows, height, width, channels).
        kernel: K, (kernel height, kernel width, channels, filters).
        bias: b, (filters,).

    Returns:
        (rows, height, width, filters); valid: less the kernel's size minus 1.
    """
    windows = _windows(_padded(x, kernel.shape, padding), kernel.shape)
    return np.asarray(np.tensordot(windows, kernel, axes=((4, 5, 3), (0, 1, 2))) + bias)


def convolution_backward(
    gradient: Array, x: Array, kernel: Array, padding: Padding = "valid"
) -> tuple[Array, Array, Array]:
    r"""With \( g = \partial L / \partial z \):

    \[ \frac{\partial L}{\partial K_{uvco}} = \sum_{n,i,j} g_{nijo} \, x_{n,\,i+u,\,j+v,\,c}, \qquad
       \frac{\partial L}{\partial x_{nijc}} = \sum_{u,v,o} g_{n,\,i-u,\,j-v,\,o} \, K_{uvco}, \qquad
       \frac{\partial L}{\partial b_o} = \sum_{n,i,j} g_{nijo} \]

    The second is a convolution of g, surrounded by zeros, with the kernel turned by 180 degrees.
    Source: [GBC] section 9.5, equations 9.11 to 9.13.

    Returns:
        Gradients of x, kernel and bias, in their shapes.
    """
    windows = _windows(_padded(x, kernel.shape, padding), kernel.shape)
    of_kernel = np.tensordot(windows, gradient, axes=((0, 1, 2), (0, 1, 2))).transpose(1, 2, 0, 3)
    height, width = kernel.shape[0] - 1, kernel.shape[1] - 1
    around = np.pad(gradient, ((0, 0), (height, height), (width, width), (0, 0)))
    turned = kernel[::-1, ::-1]
    of_padded = np.tensordot(_windows(around, kernel.shape), turned, axes=((4, 5, 3), (0, 1, 3)))
    (top, left) = (height // 2, width // 2) if padding == "same" else (0, 0)
    of_x = of_padded[:, top : top + x.shape[1], left : left + x.shape[2]]
    return of_x, of_kernel, gradient.sum(axis=(0, 1, 2))


def _windows(x: Array, kernel: tuple[int, ...]) -> Array:
    """Every place of the kernel, a view: (rows, places down, places across, channels, height, width)."""
    return np.asarray(sliding_window_view(x, (kernel[0], kernel[1]), axis=(1, 2)))


def _padded(x: Array, kernel: tuple[int, ...], padding: Padding) -> Array:
    """The image with zeros around it; of an odd number of them one more goes below and right, as in Keras."""
    if padding == "valid":
        return x
    around = [((size - 1) // 2, (size - 1) - (size - 1) // 2) for size in kernel[:2]]
    return np.pad(x, ((0, 0), *around, (0, 0)))
