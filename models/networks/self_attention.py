"""Causal self-attention of several heads with rotated positions; `export.onnx_cache` writes the same for new tokens.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, and for the rotations Su et al., "RoFormer: Enhanced
Transformer with Rotary Position Embedding", 2021. Everything is operations of `keras.ops`, for symbolic tensors too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

BASE = 10_000.0  # of the wavelengths, as in the paper
HIDDEN = -1e9  # the score of a token that is not seen: its weight is 0


class Turns(NamedTuple):
    """Cosines and sines of the angles of each token, (rows, 1, steps, dim / 2)."""

    cosines: Any
    sines: Any


def rotations(positions: Any, dim: int) -> Turns:
    """The angles of tokens at `positions`, int32 (rows, steps), for heads of `dim` numbers."""
    import keras
    from keras import ops

    precision = keras.config.floatx()
    frequencies = (BASE ** (-np.arange(dim // 2) / (dim // 2))).astype(precision)
    angles = ops.multiply(ops.expand_dims(ops.cast(positions, precision), (1, 3)), frequencies)
    return Turns(ops.cos(angles), ops.sin(angles))


def seen(queries: Any, keys: Any) -> Any:
    """Which keys (rows, m) a query (rows, n) sees, by their positions: those not after it; bool (rows, 1, n, m)."""
    from keras import ops

    return ops.greater_equal(ops.expand_dims(queries, (1, 3)), ops.expand_dims(keys, (1, 2)))


def heads_of(joint: Any, turns: Turns, heads: int) -> tuple[Any, Any, Any]:
    """Queries and keys, rotated, and values, each (rows, heads, steps, dim), of a projection (rows, steps, 3 width)."""
    from keras import layers, ops

    dim = joint.shape[-1] // 3 // heads
    parts = [
        layers.Permute((2, 1, 3))(layers.Reshape((-1, heads, dim))(part))
        for part in ops.split(joint, 3, axis=-1)
    ]
    return _turned(parts[0], turns), _turned(parts[1], turns), parts[2]


def _turned(x: Any, turns: Turns) -> Any:
    from keras import ops

    first, second = ops.split(x, 2, axis=-1)
    cosines, sines = (ops.cast(part, x.dtype) for part in turns)
    turned = [first * cosines - second * sines, second * cosines + first * sines]
    return ops.concatenate(turned, axis=-1)


def scores(queries: Any, keys: Any) -> Any:
    """Scaled products (rows, heads, n, m)."""
    from keras import ops

    return ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2))) * queries.shape[-1] ** -0.5


def weights(found: Any, visible: Any) -> Any:
    """Attention weights, in `found`'s dtype, computed in float32 at least."""
    import keras
    from keras import ops

    hidden = ops.where(visible, ops.cast(found, keras.config.floatx()), HIDDEN)
    return ops.cast(ops.softmax(hidden, axis=-1), found.dtype)


def merged(found: Any) -> Any:
    """Heads side by side again: (rows, heads, steps, dim) to (rows, steps, width)."""
    from keras import layers

    width = found.shape[1] * found.shape[3]
    return layers.Reshape((-1, width))(layers.Permute((2, 1, 3))(found))


def attended(joint: Any, turns: Turns, visible: Any, heads: int) -> Any:
    """What each token gathers from those that it sees, (rows, steps, width)."""
    from keras import ops

    queries, keys, values = heads_of(joint, turns, heads)
    return merged(ops.matmul(weights(scores(queries, keys), visible), values))
