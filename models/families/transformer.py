"""The transformer family: self-attention over the words of each text, concatenated with all other inputs.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017; only the encoder, with learned positions, GELU, and
masked-language pretraining as in Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers
for Language Understanding", NAACL 2019; normalisation before each sublayer, which needs no warm-up, as in Xiong et al.,
"On Layer Normalization in the Transformer Architecture", ICML 2020.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tidegate.models.errors import OptionsError
from tidegate.models.families import USUAL_TASKS, FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.families.recurrent.recurrence import pooled
from tidegate.models.networks.heads.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs

TASKS = (*USUAL_TASKS, "tagging")


class Pretrain(FamilyOptions):
    """Masked-language pretraining on the texts of the training rows, without their labels."""

    epochs: int = Field(10, ge=1, description="Passes over the training texts in the pretraining.")
    batch_size: int = Field(32, ge=1, description="Texts per weight update in the pretraining.")
    learning_rate: float = Field(0.001, gt=0, description="Learning rate of Adam, with cosine decay.")
    masked: float = Field(0.15, gt=0, lt=1, description="Fraction of a text's words that are predicted.")
    copies: int = Field(2, ge=1, description="Different maskings of each text.")


class Options(FamilyOptions):
    """Options of `family: transformer`."""

    width: int = Field(96, ge=2, description="Size of a word's embedding and of the encoder's states.")
    layers: int = Field(2, ge=1, description="Encoder layers.")
    heads: int = Field(4, ge=1, description="Attention heads per layer; a divisor of width.")
    feed_forward: int = Field(192, ge=1, description="Width of each layer's feed-forward part.")
    dense: tuple[Width, ...] = Field((), description="Width of each dense layer before the outputs.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout rate in each part of a layer.")
    pretrain: Pretrain | None = Field(
        None, description="Masked-language pretraining before the training; none when not given."
    )

    @model_validator(mode="after")
    def _divides(self) -> Options:
        if self.width % self.heads:
            raise ValueError(
                f"heads is {self.heads} and width is {self.width}; expected a divisor of width; change one of them"
            )
        return self


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of texts as word ids, int32 (rows, length) with 0 as padding; float32 (rows, units) out.

    Of a tagging, with one text alone, the output is float32 (rows, length, units).

    Raises:
        OptionsError: no input is text, or there are several and `pretrain` is given, or a tagging has other inputs.
    """
    import keras
    from keras import ops

    texts = inputs.require("text", "transformer")
    if options.pretrain and len(texts) > 1:
        raise OptionsError(
            f"option 'model.pretrain' is given and the texts are {', '.join(texts)}; expected one text; "
            "leave it out, or name one in data.inputs"
        )
    towers = []
    for name, ids in texts.items():
        words = _encoder(inputs.specs[name], f"encoder_{name}", options)(ids)
        if outputs.tokens:
            inputs.require_alone(name, "transformer")
            x = dense_head(words, options.dense, options.dropout, "gelu")
            return keras.Model(inputs.tensors, outputs.layer(x), name="transformer")
        towers.append(pooled(words, ops.not_equal(ids, 0), "mean"))
    x = joined([*towers, *inputs.without("text")])
    x = dense_head(x, options.dense, options.dropout, "gelu")
    return keras.Model(inputs.tensors, outputs.layer(x), name="transformer")


def _encoder(spec: Any, name: str, options: Options) -> Any:
    """A separate model from word ids (rows, length) to (rows, length, width), so that it can be pretrained."""
    import keras
    from keras import layers, ops

    ids = keras.Input(spec.shape, dtype="int32", name="ids")
    words = layers.ReversibleEmbedding(spec.vocabulary, options.width, name="words")(ids)
    # Each row's 0, 1, 2, ...; computed from ids, because a constant would not be part of the graph.
    positions = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    x = layers.Add()([words, layers.Embedding(spec.shape[0], options.width, name="places")(positions)])
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
