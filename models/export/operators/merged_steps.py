"""Steps of a free number, each of which goes through a layer alone, as rows of one call."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from tidegate.models.keras_private import all_layers


@contextlib.contextmanager
def merged(model: Any) -> Iterator[None]:
    """Trace each TimeDistributed of a model, whose number of steps is free, as its layer for rows times steps.

    Keras maps over the steps by a loop in a graph, which the converter makes another number of steps of. To the layer a
    step is a row like any other.
    """
    import keras

    layers = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.TimeDistributed)]
    for layer in layers:
        layer.call = _call(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _call(layer: Any) -> Callable[..., Any]:
    plain = layer.call

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if inputs.shape[1] is not None:
            return plain(inputs, training=training, mask=mask)
        return _of_rows(layer.layer, inputs, mask)

    return call


def _of_rows(layer: Any, inputs: Any, mask: Any) -> Any:
    """What the layer makes of the steps, called as Keras calls it for one: (rows, steps, …) in and out."""
    import keras

    def as_rows(given: Any) -> Any:
        return keras.ops.reshape(given, (-1, *keras.ops.shape(given)[2:]))

    options = {"training": False, **({} if mask is None else {"mask": as_rows(mask)})}
    taken = inspect.signature(layer.call).parameters
    result = layer.call(as_rows(inputs), **{name: value for name, value in options.items() if name in taken})
    steps = keras.ops.shape(inputs)[1]
    return keras.ops.reshape(result, (-1, steps, *keras.ops.shape(result)[1:]))
