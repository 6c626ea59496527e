"""A loss as Keras computes it."""

from __future__ import annotations

from typing import Any

from tidegate.models.config.losses import Loss
from tidegate.models.training.multibox_loss import multibox
from tidegate.models.training.optimizers import construct

# Keras on TensorFlow takes what went into the softmax or sigmoid; elsewhere it cuts probabilities at 1e-7, below which
# nothing is learned from a row. Ours cuts where floating point ends.
CUT = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")


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
    if loss.name in CUT and keras.backend.backend() != "tensorflow" and not loss.options.get("from_logits"):
        return _uncut(made)
    return made


def _uncut(loss: Any) -> Any:
    """The same cross-entropy of the logarithm of any probability, which is a logit of the same probability.

    That of two classes needs the other's as well: in float32 there is none below 6e-8, as in the equations.
    """
    import numpy as np
    from keras import ops

    of_logits, binary = loss.fn, loss.name == "binary_crossentropy"

    def cross_entropy(y_true: Any, y_pred: Any, **options: Any) -> Any:
        limits = np.finfo(str(y_pred.dtype).removeprefix("torch."))
        chance = ops.clip(y_pred, float(limits.tiny), 1 - float(limits.epsneg) if binary else 1.0)
        logit = ops.log(chance) - ops.log1p(-chance) if binary else ops.log(chance)
        return of_logits(y_true, logit, **options | {"from_logits": True})

    loss.fn = cross_entropy
    return loss
