"""Temperature scaling: one number that calibrates a classifier's probabilities.

Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017), section 4.2. The temperature
divides the logits, so the weights of the last layer are divided by it: the saved, exported and served network has the
same structure and needs no extra setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import OptionsError
from tidegate.models.keras_private import operation_of
from tidegate.models.networks.predict import predict

LIMIT = 100.0  # a temperature above it, or below 1 / LIMIT, is not determined by the held-out rows
HALVINGS = 60


def calibrate(model: Any, inputs: Mapping[str, NDArray[Any]], truth: NDArray[np.int64]) -> float | None:
    """Fit the temperature on held-out rows, divide the last layer's weights by it, and return it.

    The most probable class of every row stays the same.

    Args:
        model: a trained Keras classifier; changed in place.
        inputs: the held-out rows' model inputs by name.
        truth: their class indices (rows,).

    Returns:
        The temperature; None, with the model unchanged, if the rows do not determine one: all of them are right, so
        that a lower temperature is always better, or the model is no better than chance.

    Raises:
        OptionsError: there are no rows, or the model does not end with a Dense layer of probabilities.
    """
    if not len(truth):
        raise OptionsError(
            "option 'training.calibration' is 'temperature' and there are no validation rows; expected some, because "
            "the temperature is fitted on them; set data.split.validation, such as 0.1, or leave calibration out"
        )
    ends, layer = _last_layers(model)
    temperature = fit_temperature(_logits(model, ends, inputs), truth)
    if temperature is not None:
        for weight in layer.trainable_variables + layer.non_trainable_variables:
            weight.assign(weight.value / temperature)
    return temperature


def fit_temperature(logits: NDArray[Any], truth: NDArray[np.int64]) -> float | None:
    r"""Return the temperature T with the smallest cross-entropy of softmax(logits / T), or None; see `calibrate`.

    The cross-entropy is convex in \( \beta = 1 / T \), with the derivative
    \( \frac{1}{n} \sum_i (\sum_k p_{ik} z_{ik} - z_{i y_i}) \), whose zero is found by bisection.

    Args:
        logits: (rows, classes), or (rows, 1) for the second of two classes against the first.
        truth: class indices (rows,).
    """
    if not np.isfinite(logits).all():
        return None
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    true_logits = logits[np.arange(len(truth)), truth]

    def derivative(beta: float) -> float:
        weights = np.exp(beta * logits)
        expected = (weights * logits).sum(axis=1) / weights.sum(axis=1)
        return float(np.mean(expected - true_logits))

    low, high = 1 / LIMIT, LIMIT
    if derivative(low) >= 0 or derivative(high) <= 0:
        return None
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if derivative(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def _last_layers(model: Any) -> tuple[Any, Any]:
    """The layer with the last activation, and the Dense layer with the weights, mostly the same."""
    import keras

    layer = operation_of(model.outputs[0])
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):  # a user's, called on the inputs
        return _last_layers(layer)
    dense = layer
    if isinstance(layer, keras.layers.Activation):  # behind logits
        dense = operation_of(layer.input)
        while isinstance(dense, keras.Model) and getattr(dense, "outputs", None):
            dense = operation_of(dense.outputs[0])
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    plain = dense is layer or getattr(getattr(dense, "activation", None), "__name__", "") == "linear"
    if not isinstance(dense, keras.layers.Dense) or name not in ("softmax", "sigmoid") or not plain:
        raise OptionsError(
            f"option 'training.calibration' is 'temperature' and the model ends with layer {layer.name!r} "
            f"({type(layer).__name__} {name}); expected a Dense layer with softmax or sigmoid, as from "
            "outputs.layer(x); end build() with that, or leave calibration out"
        )
    return layer, dense


def _logits(model: Any, layer: Any, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The outputs before the last activation."""
    import keras

    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return predict(model, inputs)
    finally:
        layer.activation = activation
