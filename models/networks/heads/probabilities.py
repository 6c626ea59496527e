"""Whether a classifier answers probabilities, as which its outputs are served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.models.errors import UserModelError
from tidegate.models.keras_private import operation_of
from tidegate.models.networks.user_models.own_training import own_methods, own_training

if TYPE_CHECKING:
    import numpy as np

SLACK = 1e-4  # outside of 0 and 1, by rounding
SUM_SLACK = 1e-2


def require_probabilities(raw: np.ndarray, activation: str) -> None:
    """Refuse a classifier whose outputs are not probabilities.

    Args:
        raw: outputs of some rows, float (rows, units), or (rows, steps, units) of a text.
        activation: what the outputs need, see `outputs.Outputs`; "linear": anything is right.

    Raises:
        UserModelError: says what they are, and what to do.
    """
    if activation == "linear" or not raw.size:
        return
    off = abs(raw.sum(axis=-1) - 1).max() if activation == "softmax" and raw.ndim != 3 else 0.0
    if raw.min() < -SLACK or raw.max() > 1 + SLACK or off > SUM_SLACK:
        raise UserModelError(
            f"the model's outputs are not probabilities: they are between {raw.min():.3g} and {raw.max():.3g}; "
            f"expected {activation} outputs, because the task is classification; end build() with outputs.layer(x), or "
            "with that activation; if they are logits, say so: training.loss: {name: "
            f"{'binary' if activation == 'sigmoid' else 'sparse_categorical'}_crossentropy, from_logits: true}}"
        )


def require_logits(model: Any, where: str) -> None:
    """Refuse a model that ends with the activation already, where its outputs are said to be logits.

    Raises:
        UserModelError: names the layer, or the steps of its own that adding the activation would lose.
    """
    layer = _last(model)
    ends = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__).lower()
    if ends in ("softmax", "sigmoid"):
        raise UserModelError(
            f"{where}: the model ends with layer {layer.name!r}, a {ends}, and training.loss has from_logits: true; "
            "expected logits, which have no such activation; leave one of the two out"
        )
    found, own = own_methods(model), own_training(model)
    if (found and own is None) or (own is not None and not own.compiled):
        raise UserModelError(
            f"{where}: class {type(model).__name__} has its own {', '.join(found)}, and training.loss has from_logits: "
            "true, for which the model gets one more layer; expected a model that ends with that layer; end build() "
            "with outputs.layer(x), and leave from_logits out"
        )


def _last(model: Any) -> Any:
    """The layer that a model ends with, also in a model that it calls last."""
    import keras

    layer = operation_of(model.outputs[0])
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        return _last(layer)
    return layer
