"""Max and average pooling of images (rows, height, width, channels), windows side by side.

Rows and columns at the bottom and right that fill no window are left out, as in Keras' "valid".
"""

from __future__ import annotations

import numpy as np

from tidegate.models.equations import Array


def max_pooling(x: Array, size: int = 2) -> Array:
    r"""\( z_{nijc} = \max_{0 \le u,v < s} x_{n,\,si+u,\,sj+v,\,c} \).

    Source: [GBC] section 9.3; Zhou, Chellappa, ICNN 1988.

    Args:
        x: (rows, height, width, channels).
        size: s, pixels of a window down and across.

    Returns:
        (rows, height // size, width // size, channels).
    """
    return np.asarray(_windows(x, size).max(axis=-1))


def max_pooling_backward(gradient: Array, x: Array, size: int = 2) -> Array:
    r"""The gradient goes to the largest value of each window, of equal ones to the first; the others get 0:

    \( \frac{\partial L}{\partial x_{n,\,si+u,\,sj+v,\,c}} = g_{nijc} \, [(u, v) = \arg\max] \).

    Source: [GBC] section 9.3.
    """
    windows = _windows(x, size)
    chosen = np.zeros_like(windows)
    np.put_along_axis(chosen, windows.argmax(axis=-1)[..., np.newaxis], 1.0, axis=-1)
    return _image(chosen * gradient[..., np.newaxis], x.shape, size)


def average_pooling(x: Array, size: int = 2) -> Array:
    r"""\( z_{nijc} = \frac{1}{s^2} \sum_{0 \le u,v < s} x_{n,\,si+u,\,sj+v,\,c} \).

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, II.A.
    """
    return np.asarray(_windows(x, size).mean(axis=-1))


def average_pooling_backward(gradient: Array, x: Array, size: int = 2) -> Array:
    r"""Each value of a window gets its share:

    \( \frac{\partial L}{\partial x_{n,\,si+u,\,sj+v,\,c}} = g_{nijc} / s^2 \).
    """
    shares = np.repeat((gradient / size**2)[..., np.newaxis], size**2, axis=-1)
    return _image(shares, x.shape, size)


def _windows(x: Array, size: int) -> Array:
    """(rows, windows down, windows across, channels, values of a window row by row)."""
    rows, height, width, channels = x.shape
    down, across = height // size, width // size
    whole = x[:, : down * size, : across * size].reshape(rows, down, size, across, size, channels)
    return whole.transpose(0, 1, 3, 5, 2, 4).reshape(rows, down, across, channels, size * size)


def _image(windows: Array, shape: tuple[int, ...], size: int) -> Array:
    """The inverse of `_windows`, zeros where no window was."""
    rows, down, across, channels, _ = windows.shape
    pixels = windows.reshape(rows, down, across, channels, size, size).transpose(0, 1, 4, 2, 5, 3)
    image = np.zeros(shape)
    image[:, : down * size, : across * size] = pixels.reshape(rows, down * size, across * size, channels)
    return image
