"""A trained model's raw answers for many rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.inputs import inputs_of


def predict(model: Any, inputs: Mapping[str, np.ndarray], batch_size: int = 1024) -> np.ndarray:
    """Return the model's outputs, float32 (rows, units), in order.

    Calls the model on large batches: `Model.predict` costs 40 ms before its first row.

    Args:
        model: a Keras model.
        inputs: model inputs by name, rows first; more than the model has are ignored.
        batch_size: rows a call, which bounds the memory used.
    """
    chosen = inputs_of(model, inputs)
    rows = len(next(iter(chosen.values())))
    starts = range(0, rows, batch_size)
    parts = [
        np.asarray(
            model(
                {name: array[start : start + batch_size] for name, array in chosen.items()}, training=False
            ),
            dtype=np.float32,
        )
        for start in starts
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.outputs[0].shape[-1]), np.float32)
