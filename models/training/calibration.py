"""Temperature scaling: one number that makes a classifier as sure as it is right.

Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017), section 4.2. The temperature
divides the logits, so it is put into the weights of the last layer: what is saved, exported and served is the
same network, and needs no word of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import OptionsError
from tidegate.models.keras_private import operation_of
from tidegate.models.networks.predict import predict

MOST = 100.0  # a temperature beyond it, or below 1 / MOST, is none that held-out rows have told
HALVINGS = 60


def calibrate(model: Any, inputs: Mapping[str, NDArray[Any]], truth: NDArray[np.int64]) -> float | None:
    """Fit the temperature on held-out rows, divide the last layer's weights by it and return it.

    The class with the highest probability stays the same in every row.

    Args:
        model: a trained Keras classifier; changed in place.
        inputs: the held-out rows' model inputs by name.
        truth: their class indices (rows,).

    Returns:
        The temperature; None, and the model as it was, where the rows do not tell one: all of them are right, so that
        colder is always better, or the model is no better than chance.

    Raises:
        OptionsError: there are no rows, or the model does not end with a Dense layer of probabilities.
    """
    if not len(truth):
        raise OptionsError(
            "Option 'training.calibration' is 'temperature', which is fitted on validation rows, and there are none. "
            "Set data.split.validation, such as 0.1, or leave calibration out."
        )
    layer = _last_layer(model)
    temperature = fit_temperature(_logits(model, layer, inputs), truth)
    if temperature is not None:
        for weight in layer.trainable_variables + layer.non_trainable_variables:
            weight.assign(weight.value / temperature)
    return temperature


def fit_temperature(logits: NDArray[Any], truth: NDArray[np.int64]) -> float | None:
    r"""Return the temperature T with the smallest cross-entropy of softmax(logits / T), or None; see `calibrate`.

    The cross-entropy is convex in \( \beta = 1 / T \), with the derivative
    \( \frac{1}{n} \sum_i (\sum_k p_{ik} z_{ik} - z_{i y_i}) \), whose zero is found by halving.

    Args:
        logits: (rows, classes), or (rows, 1): of the second of two classes against the first.
        truth: class indices (rows,).
    """
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    given = logits[np.arange(len(truth)), truth]

    def slope(beta: float) -> float:
        weights = np.exp(beta * logits)
        expected = (weights * logits).sum(axis=1) / weights.sum(axis=1)
        return float(np.mean(expected - given))

    low, high = 1 / MOST, MOST
    if slope(low) >= 0 or slope(high) <= 0:
        return None
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def _last_layer(model: Any) -> Any:
    import keras

    layer = operation_of(model.outputs[0])
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):  # a user's, called on the inputs
        return _last_layer(layer)
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    if not isinstance(layer, keras.layers.Dense) or name not in ("softmax", "sigmoid"):
        raise OptionsError(
            f"Option 'training.calibration' is 'temperature' and the model ends with layer {layer.name!r} "
            f"({type(layer).__name__} {name}). Expected a Dense layer with softmax or sigmoid, as outputs.layer(x) "
            "makes it. End build() with that, or leave calibration out."
        )
    return layer


def _logits(model: Any, layer: Any, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The answers before the last activation."""
    import keras

    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return predict(model, inputs)
    finally:
        layer.activation = activation
