"""The gpt family: a decoder-only transformer, which continues a text token by token.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019: self-attention over the tokens so
far, with normalisation before each sublayer; positions as rotations of queries and keys (RoPE), which take a text of
any length, as in Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tidegate.models.families import FamilyOptions
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.self_attention import (
    attended,
    rotations,
    seen,
)

TASKS = ("generation",)


class Options(FamilyOptions):
    """Options of `family: gpt`."""

    width: int = Field(128, ge=2, le=4096, description="Size of a token's embedding and of the states.")
    layers: int = Field(4, ge=1, le=64, description="Decoder layers.")
    heads: int = Field(4, ge=1, description="Attention heads per layer; width / heads must be even.")
    feed_forward: int | None = Field(
        None,
        ge=1,
        description="Width of each layer's feed-forward part; four times the width when not given.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate in each part of a layer.")

    @model_validator(mode="after")
    def _divides(self) -> Options:
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(
                f"heads is {self.heads} and width is {self.width}; expected width / heads to be even, because pairs of "
                "numbers are rotated; change one of them"
            )
        return self


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of a text's tokens so far, int32 (rows, steps); float32 (rows, steps, units) out.

    Raises:
        OptionsError: there are other inputs besides the text.
    """
    import keras
    from keras import layers, ops

    inputs.refuse_beside((), "gpt", "seq2seq")
    ((name, prefix),) = inputs.of_kind("prefix").items()
    # Each row's 0, 1, 2, ...; computed from the tokens, because a constant would not be part of the graph.
    positions = ops.cumsum(ops.ones_like(prefix), axis=1) - 1
    turns = rotations(positions, options.width // options.heads)
    visible = seen(positions, positions)
    x = layers.Embedding(inputs.specs[name].vocabulary, options.width, name="tokens")(prefix)
    for place in range(options.layers):
        near = layers.LayerNormalization(name=f"norm_attention_{place}")(x)
        joint = layers.Dense(3 * options.width, use_bias=False, name=f"query_key_value_{place}")(near)
        found = layers.Dense(options.width, name=f"attention_{place}")(
            attended(joint, turns, visible, options.heads)
        )
        x = layers.Add(name=f"add_attention_{place}")([x, _dropped(found, options.dropout)])
        near = layers.LayerNormalization(name=f"norm_forward_{place}")(x)
        wide = layers.Dense(options.feed_forward or 4 * options.width, "gelu", name=f"wide_{place}")(near)
        found = layers.Dense(options.width, name=f"forward_{place}")(wide)
        x = layers.Add(name=f"add_forward_{place}")([x, _dropped(found, options.dropout)])
    x = layers.LayerNormalization(name="norm")(x)
    return keras.Model(inputs.tensors, outputs.layer(x), name="gpt")


def _dropped(x: Any, rate: float) -> Any:
    from keras import layers

    return layers.Dropout(rate)(x) if rate else x
