"""The dense layers before the outputs that many families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def dense_head(x: Any, widths: Sequence[int], dropout: float, activation: str = "relu") -> Any:
    """Return features `x` (rows, any) after dense layers of these widths, with dropout before each and at the end."""
    from keras import layers

    for width in widths:
        x = layers.Dropout(dropout)(x) if dropout else x
        x = layers.Dense(width, activation=activation)(x)
    return layers.Dropout(dropout)(x) if dropout else x
