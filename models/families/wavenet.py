"""The wavenet family: dilated causal convolutions over samples, to classify a series or to continue it.

Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016: layers that look 1, 2, 4, ... samples
back, each the product of a tanh and a sigmoid, with residual connections and a sum of all layers at the end.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tidegate.models.families import FamilyOptions
from tidegate.models.families.recurrent.recurrence import pooled, series_of, steps_of
from tidegate.models.networks.heads.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs

TASKS = ("classification", "regression", "multilabel", "generation")


class Options(FamilyOptions):
    """Options of `family: wavenet`."""

    filters: int = Field(32, ge=1, description="Width of each layer.")
    skip: int = Field(64, ge=1, description="Width of the sum of all layers.")
    depth: int = Field(6, ge=1, description="Layers of a stack; the last looks 2 ** (depth - 1) steps back.")
    stacks: int = Field(1, ge=1, description="Number of stacks; the dilations of each begin with 1.")
    pooling: Literal["last", "mean", "max"] = Field(
        "last", description="How a series is summarised: its last step, or the mean or maximum of all steps."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate before the outputs.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of series, with the same inputs as the recurrent families; float32 (rows, units) out.

    For a generation it is a model of the samples so far, int32 (rows, steps); float32 (rows, steps, units) out.

    Raises:
        OptionsError: no input is a series, or one is text; in a generation, there are other inputs.
    """
    import keras

    written = inputs.of_kind("prefix")
    if written:
        return _writer(written, inputs, outputs, options)
    inputs.refuse("text", "wavenet", "text")
    series = series_of(inputs, "wavenet")
    towers = [_tower(tensor, inputs.specs[name].kind, options) for name, tensor in series.items()]
    others = [tensor for name, tensor in inputs.embedded().items() if name not in series]
    x = joined([*towers, *others])
    x = dense_head(x, (), options.dropout)
    return keras.Model(inputs.tensors, outputs.layer(x), name="wavenet")


def _writer(written: dict[str, Any], inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    import keras
    from keras import layers

    inputs.refuse_beside((), "wavenet", "seq2seq")
    ((name, samples),) = written.items()
    x = layers.Embedding(inputs.specs[name].vocabulary, options.filters)(samples)
    x = layers.Dropout(options.dropout)(_stack(x, options))
    return keras.Model(inputs.tensors, outputs.layer(x), name="wavenet")


def _tower(x: Any, kind: str, options: Options) -> Any:
    x, mask = steps_of(x, kind)
    whole = _stack(x, options)
    return _last(whole, mask) if options.pooling == "last" else pooled(whole, mask, options.pooling)


def _stack(x: Any, options: Options) -> Any:
    """All layers over samples (rows, steps, features); returns the sum of their skip outputs (rows, steps, skip)."""
    from keras import layers

    x = layers.Conv1D(options.filters, 2, padding="causal")(x)
    skips = []
    for dilation in [2**place for place in range(options.depth)] * options.stacks:
        x, skip = _layer(x, dilation, options)
        skips.append(skip)
    whole = layers.Add()(skips) if len(skips) > 1 else skips[0]
    return layers.Conv1D(options.skip, 1, activation="relu")(layers.ReLU()(whole))


def _layer(x: Any, dilation: int, options: Options) -> tuple[Any, Any]:
    from keras import layers

    def causal(activation: str) -> Any:
        return layers.Conv1D(
            options.filters, 2, padding="causal", dilation_rate=dilation, activation=activation
        )(x)

    gated = layers.Multiply()([causal("tanh"), causal("sigmoid")])
    return layers.Add()([x, layers.Conv1D(options.filters, 1)(gated)]), layers.Conv1D(options.skip, 1)(gated)


def _last(x: Any, mask: Any) -> Any:
    """The last step in `mask`, zeros if there is none."""
    from keras import ops

    if mask is None:
        return x[:, -1]
    count = ops.sum(ops.cast(mask, "int32"), axis=1)
    return ops.sum(x * ops.expand_dims(ops.one_hot(count - 1, x.shape[1], dtype=x.dtype), -1), axis=1)
