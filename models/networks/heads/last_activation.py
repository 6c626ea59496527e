"""What a model computes before its last softmax or sigmoid, which hides differences where it is 0 or 1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tidegate.models.keras_private import graph_of, operation_of
from tidegate.models.networks.predict import predict

SQUASHING = ("Softmax", "Sigmoid")  # Keras' operations and layers of these names


def predict_before(model: Any, inputs: Mapping[str, np.ndarray], batch_size: int = 1024) -> np.ndarray | None:
    """Return what the model computes before its last softmax or sigmoid, float32, with the shape of its outputs.

    Args:
        model: a Keras model.
        inputs: model inputs by name, rows first.
        batch_size: rows per call.

    Returns:
        None if the model does not end with one that can be left out.
    """
    with without_last_activation(model) as found:
        return predict(model, inputs, batch_size) if found else None


@contextlib.contextmanager
def without_last_activation(model: Any) -> Iterator[bool]:
    """Let a model return what stands before its last softmax or sigmoid; yields whether it has one to leave out."""
    if len(model.outputs) > 1:
        yield False
        return
    last = last_operation(model)
    attribute, value = _replacement(last)
    if not attribute:
        yield False
        return
    had, before = attribute in vars(last), getattr(last, attribute)
    setattr(last, attribute, value)
    try:
        yield True
    finally:
        if had or attribute == "activation":
            setattr(last, attribute, before)
        else:
            delattr(last, attribute)


def last_operation(model: Any) -> Any:
    """The operation that returns a model's only output, also within nested models."""
    last = operation_of(model.outputs[0])
    while (graph := graph_of(last)) is not None:
        last = operation_of(graph.outputs[0])
    return last


def _replacement(last: Any) -> tuple[str, Any]:
    """The attribute of the last operation that squashes, and what to set instead; "" if there is none."""
    import keras

    squashing = (keras.activations.softmax, keras.activations.sigmoid)
    if isinstance(last, keras.layers.RNN | keras.Model):
        return "", None
    if getattr(last, "activation", None) in squashing:
        return "activation", keras.activations.linear
    if type(last).__name__ in SQUASHING and type(last).__module__.startswith("keras."):
        return "call", lambda x, *_, **__: x
    return "", None
