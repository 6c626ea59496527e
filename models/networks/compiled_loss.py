"""What the loss that a user's `build` compiled its model with says about the outputs and the target."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tidegate.models.config.losses import Target
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.user_models.own_training import OwnTraining, loss_name


def as_compiled(own: OwnTraining, model: Any, outputs: Outputs) -> OwnTraining:
    """The same with outputs and target of the loss that the model was compiled with.

    A network of two classes may answer one probability, the loss may take logits, and "sparse" in its name means class
    indices; any other loss of several outputs gets one number a class.

    Args:
        own: a compiled model.
        model: of the named inputs around it.
        outputs: what build was asked for.
    """
    loss = own.model.loss
    if outputs.activation != "softmax" or len(model.outputs[0].shape) != 2:
        return replace(own, outputs=outputs)
    logits = _takes_logits(loss)
    if outputs.units == 2 and model.outputs[0].shape[-1] == 1:
        return replace(own, outputs=Outputs(1, "sigmoid", logits=logits), target="probability")
    name = re.sub(r"[^a-z]", "", loss_name(loss).lower())
    target: Target = "index" if loss is None or "sparse" in name else "one_hot"
    return replace(own, outputs=replace(outputs, logits=logits), target=target)


def _takes_logits(loss: Any) -> bool:
    get_config = getattr(loss, "get_config", None)
    return bool(get_config is not None and get_config().get("from_logits", False))
