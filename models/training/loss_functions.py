"""Keras loss objects."""

from __future__ import annotations

from typing import Any

from tidegate.models.config.losses import Loss
from tidegate.models.training.multibox_loss import multibox
from tidegate.models.training.optimizers import construct

# On TensorFlow Keras uses the logits before the softmax or sigmoid. On other backends it clips probabilities at 1e-7,
# below which a row has no gradient; ours clips only at the limits of floating point.
CLIPPED = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")


def loss_function(loss: Loss) -> Any:
    """Return the Keras loss object.

    Raises:
        OptionsError: an option is not one of the loss's.
    """
    import keras

    if loss.target == "boxes":
        return construct(multibox, loss.options, f"loss {loss.name!r}")
    config = "".join(part.capitalize() for part in loss.name.split("_"))
    special = {"KlDivergence": "KLDivergence", "LogCosh": "LogCosh"}
    made = construct(getattr(keras.losses, special.get(config, config)), loss.options, f"loss {loss.name!r}")
    if loss.name in CLIPPED and keras.backend.backend() != "tensorflow":
        return _unclipped(made)
    return made


def _unclipped(loss: Any) -> Any:
    """The same cross-entropy computed from the logarithm of a probability, which is a valid logit of it.

    With two classes 1 - p is needed, too, which in float32 is never below 6e-8.
    """
    import numpy as np
    from keras import ops

    of_logits, binary = loss.fn, loss.name == "binary_crossentropy"

    def cross_entropy(y_true: Any, y_pred: Any, **options: Any) -> Any:
        limits = np.finfo(str(y_pred.dtype).removeprefix("torch."))
        p = ops.clip(y_pred, float(limits.tiny), 1 - float(limits.epsneg) if binary else 1.0)
        logit = ops.log(p) - ops.log1p(-p) if binary else ops.log(p)
        return of_logits(y_true, logit, **options | {"from_logits": True})

    loss.fn = cross_entropy
    return loss
