"""The network that answers how far another one is from its own input: the score of an anomaly."""

from __future__ import annotations

import math
from typing import Any

from tidegate.models.errors import OptionsError

NAME = "score"
# A float32 that is finite: a row that is so far is no less an anomaly, and must be answered.
FARTHEST = 3.4e38


def with_score(model: Any) -> Any:
    """A model of the mean squared difference between an autoencoder's answer and its input, float32 (rows, 1), finite.

    It is saved, exported, proved and served like any other model of one number.

    Args:
        model: trained; its only input and output are numbers of one shape, or as many of them.

    Raises:
        OptionsError: it has several inputs or outputs, or is no functional model.
    """
    import keras
    from keras import ops

    inputs: Any = getattr(model, "inputs", None) or ()
    outputs: Any = getattr(model, "outputs", None) or ()
    if len(inputs) != 1 or len(outputs) != 1:
        raise OptionsError(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs, and data.anomaly is stated; expected "
            "one of each, the output as the input; build it by layers from inputs to outputs.layer(x)"
        )
    (given,), (answer,) = inputs, outputs
    numbers = math.prod(given.shape[1:])
    apart = ops.reshape(answer, (-1, numbers)) - ops.reshape(given, (-1, numbers))
    score = ops.mean(ops.square(apart), axis=1, keepdims=True)
    score = ops.where(score < FARTHEST, score, FARTHEST)  # infinite ones and NaN too
    last: Any = keras.layers.Activation("linear", dtype=keras.config.floatx(), name=NAME)
    return keras.Model({given.name: given}, last(score), name=model.name)
