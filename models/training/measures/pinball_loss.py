"""The pinball loss of quantiles.

Source: Koenker, Bassett, "Regression Quantiles", Econometrica 46(1), 1978.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tidegate.models.config.losses import loss_named
from tidegate.models.errors import OptionsError
from tidegate.models.preprocessing.schema import Target
from tidegate.models.user_code.references import is_reference

NAME = "pinball"


def pinball(quantiles: Sequence[float]) -> Callable[[Any, Any], Any]:
    """The mean over steps and quantiles of q (y - a) where the answer a is below y, else (1 - q) (a - y).

    Args:
        quantiles: each above 0 and below 1, in the order of the answers.
    """

    def loss(y_true: Any, y_pred: Any) -> Any:
        """The loss of each row (rows,).

        Args:
            y_true: (rows, steps).
            y_pred: (rows, steps * quantiles), step by step.
        """
        from keras import ops

        levels = ops.convert_to_tensor(list(quantiles), dtype=y_pred.dtype)
        answers = ops.reshape(y_pred, (-1, y_true.shape[1], len(quantiles)))
        below = ops.expand_dims(y_true, -1) - answers
        return ops.mean(ops.maximum(levels * below, (levels - 1) * below), axis=(1, 2))

    loss.__name__ = NAME
    return loss


def with_quantiles(training: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The `training` section, in which the loss of a forecast has the target's quantiles.

    Raises:
        OptionsError: the loss does not fit a forecast, or states quantiles of its own.
    """
    if target.quantiles is None or is_reference(str(_name(training["loss"]))):
        return dict(training)
    loss = loss_named(training["loss"], target.task, 0)
    if loss.options:
        raise OptionsError(
            f"loss {NAME!r} has the options {', '.join(loss.options)}; expected none, because its quantiles are those "
            "of data.forecast.quantiles; state them there"
        )
    return {**training, "loss": {"name": NAME, "quantiles": list(target.quantiles)}}


def _name(loss: Any) -> Any:
    return loss.get("name") if isinstance(loss, Mapping) else loss
