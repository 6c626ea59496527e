"""The transformer family: self-attention over the words of each text, joined with all other inputs before the outputs.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017; the encoder alone with learned places, GELU, and
pretraining on masked words as in Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers
for Language Understanding", NAACL 2019; the normalisation before each part, which needs no warm-up, as in Xiong et al.,
"On Layer Normalization in the Transformer Architecture", ICML 2020.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tidegate.models.errors import OptionsError
from tidegate.models.families import FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.families.recurrence import pooled
from tidegate.models.networks.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs


class Pretrain(FamilyOptions):
    """Masked-language pretraining on the texts of the training rows, without their labels."""

    epochs: int = Field(10, ge=1, description="Times the training texts are gone through first.")
    batch_size: int = Field(
        32, ge=1, description="Texts a weight update of the pretraining is computed from."
    )
    learning_rate: float = Field(0.001, gt=0, description="Of Adam, falling along half a cosine.")
    masked: float = Field(0.15, gt=0, lt=1, description="Part of a text's words that have to be guessed.")
    copies: int = Field(2, ge=1, description="Different maskings of each text that take turns.")


class Options(FamilyOptions):
    """Options of `family: transformer`."""

    width: int = Field(96, ge=2, description="Numbers a word is represented by.")
    layers: int = Field(2, ge=1, description="Encoder layers.")
    heads: int = Field(4, ge=1, description="Attention heads a layer; they divide the width.")
    feed_forward: int = Field(192, ge=1, description="Width of each layer's dense part.")
    dense: tuple[Width, ...] = Field((), description="Width of each dense layer before the outputs.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Part left out at random in each part of a layer.")
    pretrain: Pretrain | None = Field(
        None, description="Guess masked words first; none is done when not given."
    )

    @model_validator(mode="after")
    def _divides(self) -> Options:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide width {self.width}; choose a divisor of it")
        return self


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of texts as word ids, int32 (rows, length), 0 being padding; float32 (rows, units) out.

    Raises:
        OptionsError: no input is text, or there are several and they are to be pretrained.
    """
    import keras
    from keras import ops

    texts = inputs.require("text", "transformer")
    if options.pretrain and len(texts) > 1:
        raise OptionsError(
            f"Option 'model.pretrain' is for one text; received {', '.join(texts)}. "
            "Leave it out, or name one in data.inputs."
        )
    towers = []
    for name, ids in texts.items():
        words = _encoder(inputs.specs[name], f"encoder_{name}", options)(ids)
        towers.append(pooled(words, ops.not_equal(ids, 0), "mean"))
    x = joined([*towers, *inputs.without("text")])
    x = dense_head(x, options.dense, options.dropout, "gelu")
    return keras.Model(inputs.tensors, outputs.layer(x), name="transformer")


def _encoder(spec: Any, name: str, options: Options) -> Any:
    """A model of its own from word ids (rows, length) to (rows, length, width), so that it can be pretrained."""
    import keras
    from keras import layers, ops

    ids = keras.Input(spec.shape, dtype="int32", name="ids")
    words = layers.ReversibleEmbedding(spec.vocabulary, options.width, name="words")(ids)
    # Each row's 0, 1, 2, …: a constant would be no part of the graph.
    places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    x = layers.Add()([words, layers.Embedding(spec.shape[0], options.width, name="places")(places)])
    there = ops.expand_dims(ops.not_equal(ids, 0), 1)
    for _ in range(options.layers):
        x = _layer(x, there, options)
    return keras.Model(ids, layers.LayerNormalization()(x), name=name)


def _layer(x: Any, there: Any, options: Options) -> Any:
    from keras import layers

    attention = layers.MultiHeadAttention(options.heads, options.width // options.heads)
    near = layers.LayerNormalization()(x)
    found = attention(near, near, attention_mask=there)
    x = layers.Add()([x, layers.Dropout(options.dropout)(found)])
    wide = layers.Dense(options.feed_forward, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dropout(options.dropout)(layers.Dense(options.width)(wide))])
