"""The last layer of a tagging: what a network answers at places without a token."""

from __future__ import annotations

from typing import Any


def with_token_mask(model: Any, name: str) -> Any:
    """Return a model with one class more, the first: certain where there is no token, and 0 at each token.

    So the two can be told apart by the answer alone.

    Args:
        model: from inputs to the probabilities of each label (rows, length, labels).
        name: of the input of token ids, (rows, length), 0 where there is none.
    """
    import keras
    from keras import ops

    inputs = {tensor.name: tensor for tensor in model.inputs}
    found = model.outputs[0]
    there = ops.expand_dims(ops.cast(ops.not_equal(inputs[name], 0), found.dtype), -1)
    answered = ops.concatenate([ops.subtract(1.0, there), ops.multiply(found, there)], axis=-1)
    return keras.Model(inputs, answered, name=model.name)
