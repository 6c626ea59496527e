"""How a number is scaled: by its training mean and deviation, its range, its quartiles, or not at all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.encoders import LARGEST_RAW, signed_log

# By scale, how large the largest magnitude of a column may be, and must be unless it is 0: squares of deviations are
# summed in float64, and a number that is not scaled becomes a float32.
LIMITS = {
    "standard": (1e150, 1e-150),
    "robust": (1e150, 0.0),
    "minmax": (1e150, 0.0),
    "log": (math.inf, 1e-150),
    "none": (LARGEST_RAW, 1e-37),
}
MOST_KEPT = 200_000  # numbers that quartiles are computed from; of more, evenly spaced ones


class Moments:
    """Mean and standard deviation of numbers that come in parts; missing numbers are ignored.

    The parts' sums of squared deviations are combined as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances" (1979), equation 2.1b.
    """

    def __init__(self) -> None:
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Array) -> None:
        """Add numbers of any shape."""
        numbers = values.astype(np.float64)
        present = numbers[np.isfinite(numbers)]
        if not present.size:
            return
        mean = float(present.sum() / present.size)
        squares = float(((present - mean) ** 2).sum())
        whole, apart = self.count + present.size, mean - self._mean
        self._squares += squares + apart**2 * (self.count / whole) * present.size
        self._mean = mean if self.count == 0 else self._mean + apart * (present.size / whole)
        self.count = whole

    def mean_and_scale(self) -> tuple[float, float]:
        """The mean and the standard deviation, which is 1 if all numbers are equal; (0, 1) without any number."""
        if self.count == 0:
            return 0.0, 1.0
        deviation = math.sqrt(self._squares / self.count)
        # The deviation of a constant column is rounding noise of about 1e-16 of its mean.
        return self._mean, deviation if deviation > 1e-13 * abs(self._mean) else 1.0


def check_magnitudes(name: str, method: str | None, column: Array) -> None:
    """Refuse numbers so large that their squares are infinite, or so small that they become 0.

    Args:
        name: the column's.
        method: its stated scale.
        column: numbers of any shape; only those of float64 are looked at.

    Raises:
        SchemaError: names the largest magnitude.
    """
    if column.dtype != np.float64:
        return
    with np.errstate(invalid="ignore"):
        most = float(np.max(np.abs(column), where=np.isfinite(column), initial=0.0))
    high, low = LIMITS.get(method or "standard", LIMITS["standard"])
    if most == 0.0 or low <= most <= high:
        return
    what, fix = ("large", "divide") if most > high else ("small", "multiply")
    more = ", or state scale: log" if most > high and method != "none" else ""
    raise SchemaError(
        f"input {name!r} holds numbers up to {most:.3g}, which are too {what} for scale: {method or 'standard'}, as a "
        f"model gets float32; expected a largest one from {low:g} to {high:g}; {fix} the column by a power of "
        f"ten{more}"
    )


class NumberScale:
    """Centre and scale of numbers that come in parts, by one of `encoders.SCALED`."""

    def __init__(self, method: str | None) -> None:
        self.method = method or "standard"
        self._moments, self._least, self._most = Moments(), np.inf, -np.inf
        self._kept: list[NDArray[np.float64]] = []
        self._count, self._step = 0, 1

    def add(self, values: Array) -> None:
        """Add numbers of any shape."""
        if self.method == "log":
            values = signed_log(values)
        self._moments.add(values)
        if self.method not in ("minmax", "robust"):
            return
        present = np.asarray(values, np.float64).ravel()
        present = present[np.isfinite(present)]
        if present.size:
            self._least, self._most = min(self._least, present.min()), max(self._most, present.max())
        if self.method == "robust":
            self._keep(present)

    def centre_and_scale(self) -> tuple[float, float]:
        """What is subtracted from a number, and what it is divided by then."""
        mean, deviation = self._moments.mean_and_scale()
        if self._moments.count == 0 or self.method == "none":
            return 0.0, 1.0
        if self.method == "minmax":
            return float(self._least), float(self._most - self._least) or 1.0
        if self.method == "robust":
            low, middle, high = np.quantile(np.concatenate(self._kept), [0.25, 0.5, 0.75])
            return float(middle), float(high - low) or deviation
        return mean, deviation

    def fill(self, rule: str | None, centre: float, scale: float) -> float:
        """What a missing number becomes, scaled: 0 as a number for rule `zero`, else the mean."""
        raw = 0.0 if rule == "zero" else self._moments.mean_and_scale()[0]
        return 0.0 if rule != "zero" and self.method in ("standard", "log") else (raw - centre) / scale

    def _keep(self, present: NDArray[np.float64]) -> None:
        first = -self._count % self._step
        self._kept.append(present[first :: self._step].copy())
        self._count += present.size
        while sum(part.size for part in self._kept) > MOST_KEPT:
            whole = np.concatenate(self._kept)
            self._kept, self._step = [whole[::2].copy()], 2 * self._step
