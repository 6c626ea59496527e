"""What the rnn, lstm and gru families share: recurrent layers over each series, concatenated with all other inputs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tidegate.models.errors import OptionsError
from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.networks.heads.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs


class RecurrentOptions(FamilyOptions):
    """Options of every recurrent family."""

    units: tuple[Width, ...] = Field(
        (64,), min_length=1, description="Width of each recurrent layer's state."
    )
    bidirectional: bool = Field(False, description="Also read each series backwards, with a second layer.")
    patch: int = Field(
        1, ge=1, description="Neighbouring steps that are read as one, which shortens a long series."
    )
    pooling: Literal["last", "mean", "max"] = Field(
        "last",
        description="How a series is summarised: its last state, or the mean or maximum of all states.",
    )
    dense: tuple[Width, ...] = Field((), description="Width of each dense layer after the recurrent ones.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate before each dense layer.")


def build_recurrent(
    inputs: Inputs, outputs: Outputs, options: RecurrentOptions, cell: type[Any], name: str
) -> Any:
    """Return a model of series; float32 (rows, units) out.

    A series is an input of kind sequence, (steps, features), whose padding is ignored. If there is none, it is a
    numeric input of shape (steps, features); if there is none of these either, one of shape (steps,).

    Args:
        cell: the Keras layer, such as keras.layers.LSTM.
        name: the family's.

    Raises:
        OptionsError: no input is a series, or one is text.
    """
    import keras

    inputs.refuse("text", name, "text")
    series = series_of(inputs, name)
    others = [tensor for key, tensor in inputs.embedded().items() if key not in series]
    towers = [_tower(tensor, inputs.specs[key].kind, options, cell) for key, tensor in series.items()]
    x = joined([*towers, *others])
    x = dense_head(x, options.dense, options.dropout)
    return keras.Model(inputs.tensors, outputs.layer(x), name=name)


def series_of(inputs: Inputs, name: str) -> dict[str, Any]:
    """Return the inputs that are series, see `build_recurrent`; OptionsError if there is none."""
    sequences = inputs.of_kind("sequence")
    if sequences:
        return sequences
    numbers = inputs.require("numeric", name)
    found = {key: tensor for key, tensor in numbers.items() if len(tensor.shape) == 3}
    found = found or {key: tensor for key, tensor in numbers.items() if len(tensor.shape) == 2}
    if not found:
        shapes = ", ".join(f"{key} {spec.shape}" for key, spec in inputs.specs.items())
        raise OptionsError(
            f"family {name!r} has the inputs {shapes}; expected a numeric one of shape (steps, features) or (steps,); "
            "bring the data into that shape, or use family 'mlp'"
        )
    return found


def _tower(x: Any, kind: str, options: RecurrentOptions, cell: type[Any]) -> Any:
    from keras import layers

    x, mask = steps_of(x, kind)
    if options.patch > 1:
        x, mask = _patched(x, mask, options.patch)
    last = len(options.units) - 1
    for place, units in enumerate(options.units):
        layer = cell(units, return_sequences=place < last or options.pooling != "last")
        layer = layers.Bidirectional(layer) if options.bidirectional else layer
        x = layer(x) if mask is None else layer(x, mask=mask)
    return x if options.pooling == "last" else pooled(x, mask, options.pooling)


def steps_of(x: Any, kind: str) -> tuple[Any, Any]:
    """Return a series' steps (rows, steps, features), and for a sequence its mask, bool (rows, steps), else None."""
    from keras import layers, ops

    if kind == "sequence":
        return x[:, :, :-1], ops.greater(x[:, :, -1], 0.5)
    return (layers.Reshape((x.shape[1], 1))(x) if len(x.shape) == 2 else x), None


def pooled(x: Any, mask: Any, how: str) -> Any:
    """Return the mean or maximum of `x` (rows, steps, width) over the steps in `mask`."""
    from keras import layers, ops

    if mask is None:
        return layers.GlobalAveragePooling1D()(x) if how == "mean" else layers.GlobalMaxPooling1D()(x)
    there = ops.expand_dims(ops.cast(mask, x.dtype), -1)
    if how == "max":
        return ops.max(x * there + (there - 1) * 1e4, axis=1)
    return ops.sum(x * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)


def _patched(x: Any, mask: Any, patch: int) -> tuple[Any, Any]:
    """Join each `patch` steps into one with `patch` times the features; the last is padded with zeros."""
    from keras import layers

    steps, features = x.shape[1], x.shape[2]
    missing = -steps % patch
    x = layers.ZeroPadding1D((0, missing))(x) if missing else x
    x = layers.Reshape(((steps + missing) // patch, patch * features))(x)
    return x, None if mask is None else mask[:, ::patch]
