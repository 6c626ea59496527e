"""A trained model's raw outputs for many rows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tidegate.models.networks.inputs import inputs_of


def predict(model: Any, inputs: Mapping[str, np.ndarray], batch_size: int = 1024) -> np.ndarray:
    """Return the model's outputs, float32 (rows, units) or (rows, ...), in order; see `as_numpy`.

    Calls the model on large batches: `Model.predict` costs 40 ms before its first row.

    Args:
        model: a Keras model.
        inputs: model inputs by name, rows first; inputs that the model does not have are ignored.
        batch_size: rows per call, which bounds the memory used.
    """
    chosen = inputs_of(model, inputs)
    rows = len(next(iter(chosen.values())))
    parts = []
    with without_gradients():
        for start in range(0, rows, batch_size):
            part = {name: array[start : start + batch_size] for name, array in chosen.items()}
            parts.append(as_numpy(model(part, training=False)))
    return np.concatenate(parts) if parts else np.zeros((0, model.outputs[0].shape[-1]), np.float32)


def without_gradients() -> AbstractContextManager[Any]:
    """A context for inference: without it PyTorch would keep every call's values for gradients."""
    import keras

    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    no_grad: AbstractContextManager[Any] = torch.no_grad()
    return no_grad


def as_numpy(answer: Any) -> np.ndarray:
    """A model's output, on any device, as a float32 array; several, by name, side by side in the order of the names."""
    import keras

    if isinstance(answer, dict):
        parts = [as_numpy(answer[name]) for name in sorted(answer)]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    return np.asarray(keras.ops.convert_to_numpy(answer), np.float32)
