"""Keras loss objects."""

from __future__ import annotations

from typing import Any

from tidegate.models.config.losses import Loss
from tidegate.models.keras_private import logits_beside
from tidegate.models.training.measures.multibox_loss import multibox
from tidegate.models.training.measures.pinball_loss import pinball
from tidegate.models.training.optimizers import construct
from tidegate.models.training.own.own_objects import own_loss
from tidegate.models.user_code.references import is_reference

# On TensorFlow Keras uses the logits before the softmax or sigmoid. On other backends it clips probabilities at 1e-7,
# below which a row has no gradient; ours clips only at the limits of floating point.
CLIPPED = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")


def loss_function(loss: Loss) -> Any:
    """Return the Keras loss object.

    Raises:
        OptionsError: an option is not one of the loss's.
        UserCodeError: a reference names no loss.
    """
    import keras

    if is_reference(loss.name):
        made = own_loss(loss.name, loss.options, loss.logits)
        return _of_logits(made, loss.target == "probability") if loss.logits else made
    if loss.target == "boxes":
        return construct(multibox, loss.options, f"loss {loss.name!r}")
    if loss.name == "pinball":
        return construct(pinball, loss.options, f"loss {loss.name!r}")
    config = "".join(part.capitalize() for part in loss.name.split("_"))
    special = {"KlDivergence": "KLDivergence", "LogCosh": "LogCosh"}
    made = construct(getattr(keras.losses, special.get(config, config)), loss.options, f"loss {loss.name!r}")
    if loss.name in CLIPPED and keras.backend.backend() != "tensorflow":
        return _unclipped(made)
    return made


def _of_logits(loss: Any, binary: bool) -> Any:
    """A loss of logits as one of the probabilities that the network answers with.

    On TensorFlow they carry the logits that they come from; on other backends these are computed from them.
    """

    def of_probabilities(y_true: Any, y_pred: Any) -> Any:
        return loss(y_true, logits_of(y_pred, binary))

    of_probabilities.__name__ = str(getattr(loss, "__name__", getattr(loss, "name", "loss")))
    return of_probabilities


def logits_of(probabilities: Any, binary: bool) -> Any:
    """The logits of probabilities: those that they were computed from, or the logarithm, which is a valid one.

    With two classes 1 - p is needed, too, which in float32 is never below 6e-8.
    """
    import numpy as np
    from keras import ops

    known = logits_beside(probabilities)
    if known is not None:
        return known
    limits = np.finfo(str(probabilities.dtype).removeprefix("torch."))
    p = ops.clip(probabilities, float(limits.tiny), 1 - float(limits.epsneg) if binary else 1.0)
    return ops.log(p) - ops.log1p(-p) if binary else ops.log(p)


def _unclipped(loss: Any) -> Any:
    """The same cross-entropy computed from the logarithm of a probability, which is a valid logit of it."""
    of_logits, binary = loss.fn, loss.name == "binary_crossentropy"

    def cross_entropy(y_true: Any, y_pred: Any, **options: Any) -> Any:
        return of_logits(y_true, logits_of(y_pred, binary), **options | {"from_logits": True})

    loss.fn = cross_entropy
    return loss
