"""Gradients by finite differences, what the equations' own are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 1e-3


def numeric_gradient(function: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """The gradient of `function` with respect to every entry of `array`, which is changed and put back.

    By the five-point central difference, whose error is of the order of STEP to the fourth: 1e-12 (Abramowitz and
    Stegun, 25.3.6). Two points would leave 1e-6, or rounding where the step is made smaller.
    """
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        values = []
        for steps in (-2, -1, 1, 2):
            array[place] = kept + steps * STEP
            values.append(function())
        array[place] = kept
        gradient[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
    return gradient


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a part of the largest entry expected."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
