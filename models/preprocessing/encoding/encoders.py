"""How each kind of column becomes a model input. Arrays are prepared once, so that encoding one row is cheap.

Each encoder is built from its `content`, which is JSON: `preprocessing.encoding.encoder_fitting` fits it on the
training rows, the content is stored, and the endpoint builds the encoder again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.sequences import lengths, present

MOST_CATEGORIES = 1000  # per field, the most frequent ones; all others count as unseen
LARGEST = 1e6  # standard deviations: a limit that keeps any finite number finite in float32
LARGEST_RAW = 3e38  # of a number that is not scaled: what float32 can hold
# `scale` of a number, and what the model gets.
SCALED = {
    "standard": "scaled",
    "minmax": "scaled to 0…1",
    "robust": "scaled by median and quartiles",
    "log": "its logarithm, scaled",
    "none": "as it is",
}
WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))  # the brightest pixel of each depth
VALUES = 1 << 15  # values whose float64 copy is in memory at once: they fit into a core's own cache


@dataclass(frozen=True)
class ColumnPart:
    """A column of the data in a model input.

    Attributes:
        name: the column's.
        places: of its features in the input `features`, ascending; None: the input is this column alone.
        holds: what the model gets, in words.
        one_hot: whether at most one of its features is 1, and all others 0.
    """

    name: str
    places: tuple[int, ...] | None
    holds: str
    one_hot: bool = False


@dataclass(frozen=True)
class InputSpec:
    """One model input: shape of a row, dtype, kind, and for texts the number of distinct token ids.

    Attributes:
        raw: of images, whether they are the stored numbers; else they are at most 1.
        columns: the columns of the data that it holds.
    """

    shape: tuple[int, ...]
    dtype: str
    kind: str
    vocabulary: int = 0
    raw: bool = False
    columns: tuple[ColumnPart, ...] = field(default=(), compare=False)


class Encoder(Protocol):
    """Encodes raw columns as one model input."""

    content: dict[str, Any]
    spec: InputSpec

    def apply(self, columns: Columns) -> Array:
        """Encode `n` rows as an array `(n, *spec.shape)` of `spec.dtype`."""

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """Attributions `(n, *spec.shape)` by raw column, one entry per row; see `Transforms`."""

    def described(self) -> dict[str, str]:
        """By raw column, what the model gets, in a few words."""


class ArrayEncoder:
    """One numeric array per row, standardised by one mean and one scale.

    Args:
        name, shape: the column's, and that of a row.
        mean, scale: of all numbers.
        scaling: another `scale` than standard, see `preprocessing.schema.Field`.
        fill: what a missing number becomes.
    """

    def __init__(
        self,
        name: str,
        shape: list[int],
        mean: float,
        scale: float,
        scaling: str = "standard",
        fill: float = 0.0,
    ) -> None:
        self.content = {"name": name, "shape": shape, "mean": mean, "scale": scale}
        self.content |= {"scaling": scaling, "fill": fill} if scaling != "standard" or fill else {}
        self._name, self._mean, self._factor = name, np.float64(mean), np.float64(1.0 / scale)
        self._scaling, self._fill = scaling, fill
        self.spec = InputSpec(tuple(shape), "float32", "numeric")

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, *shape)`."""
        column = columns[self._name]
        encoded = np.empty((len(column), *self.spec.shape), np.float32)
        rows = max(1, VALUES // max(1, math.prod(self.spec.shape)))
        limit = LARGEST_RAW if self._scaling == "none" else LARGEST
        for start in range(0, len(column), rows):
            block = column[start : start + rows]
            block = signed_log(block) if self._scaling == "log" else block
            standard = standardised(block, self._mean, self._factor, limit)
            if self._fill and block.dtype.kind == "f":
                standard[~np.isfinite(block)] = self._fill
            encoded[start : start + rows] = standard
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number for each element of the array."""
        del columns
        return {self._name: parts.tolist()}

    def described(self) -> dict[str, str]:
        """What the model gets."""
        return {self._name: f"{_sizes(self.spec.shape)} numbers, {SCALED[self._scaling]}"}


class SequenceEncoder:
    """A sequence of any length, each feature standardised by its own mean and scale; the last feature marks steps.

    It is 1 for a step and 0 for padding, which is all zeros, so that a model can tell padding from average values.
    """

    def __init__(self, name: str, shape: list[int], mean: list[float], scale: list[float]) -> None:
        self.content = {"name": name, "shape": shape, "mean": mean, "scale": scale}
        self._name, self._mean, self._factor = name, np.array(mean), 1.0 / np.array(scale)
        self.spec = InputSpec((shape[0], len(mean) + 1), "float32", "sequence")

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, steps, features + 1)`."""
        column = columns[self._name]
        encoded = np.empty((len(column), *self.spec.shape), np.float32)
        encoded[:, :, -1] = present(column)
        steps = column[:, :, None] if column.ndim == 2 else column
        encoded[:, :, :-1] = standardised(steps, self._mean, self._factor)
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """One number for each value of the steps that are not padding, in the raw shape."""
        column = columns[self._name]
        shaped = parts[:, :, 0] if column.ndim == 2 else parts[:, :, :-1]
        return {
            self._name: [row[:steps].tolist() for row, steps in zip(shaped, lengths(column), strict=True)]
        }

    def described(self) -> dict[str, str]:
        """What the model gets."""
        steps, features = self.spec.shape
        return {self._name: f"up to {steps} steps of {features - 1} numbers, scaled, and a mark of each step"}


class ImageEncoder:
    """One image per row, divided by one number; gray images get a channel axis; NaN pixels become 0.

    `raw` images are the stored numbers, divided by 1; without it a pixel is at most about 1. `between` are the
    least and the largest stored number, if there are negative ones.
    """

    def __init__(
        self,
        name: str,
        shape: list[int],
        divisor: float,
        raw: bool = False,
        between: list[float] | None = None,
    ) -> None:
        self.content: dict[str, Any] = {"name": name, "shape": shape, "divisor": divisor}
        self.content |= ({"raw": True} if raw else {}) | ({"between": between} if between else {})
        self._name, self._factor = name, np.float32(1.0 / divisor)
        channels = shape[2] if len(shape) > 2 else 1
        self.spec = InputSpec((shape[0], shape[1], channels), "float32", "image", raw=raw)

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """Encode `n` rows as `(n, h, w, c)`."""
        column = columns[self._name]
        encoded = np.multiply(column, self._factor, dtype=np.float32, casting="unsafe")
        encoded = encoded.reshape(len(column), *self.spec.shape)
        if column.dtype.kind == "f":
            encoded[~np.isfinite(encoded)] = 0.0
        return encoded

    def attributions_by_column(self, columns: Columns, parts: Array) -> dict[str, list[Any]]:
        """A map `(h, w)`: one number per pixel, summed over its channels."""
        del columns
        return {self._name: parts.sum(axis=3).tolist()}

    def described(self) -> dict[str, str]:
        """What the model gets."""
        divisor = self.content["divisor"]
        least = self.range() or ("0 to 1" if divisor in WHITES else "at most 1")
        held = "as stored" if self.spec.raw else f"{least}, divided by {divisor:.6g}"
        return {self._name: f"{_sizes(self.spec.shape)} pixels, {held}"}

    def range(self) -> str:
        """The least and the largest number that the model gets, if there are negative ones; else ""."""
        if "between" not in self.content:
            return ""
        return " to ".join(f"{end / self.content['divisor']:.3g}" for end in self.content["between"])


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def signed_log(values: Array) -> NDArray[np.float64]:
    """sign(x) · ln(1 + |x|): a logarithm that 0 and negative numbers have too."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), np.float64)


def standardised(raw: Array, mean: Any, factor: Any, limit: Any = LARGEST) -> NDArray[np.float64]:
    """Numbers minus `mean`, times `factor`, within the limits; 0, the mean, for one that is missing."""
    block: NDArray[np.float64] = np.subtract(raw, mean, dtype=np.float64)
    block *= factor
    # Comparing is cheaper than clipping; a NaN is never within the limits.
    if block.size and not (block.min() >= -LARGEST and block.max() <= LARGEST):
        np.minimum(np.maximum(block, -limit, out=block), limit, out=block)
        block[~np.isfinite(raw)] = 0.0  # the training mean, standardised
    return block
