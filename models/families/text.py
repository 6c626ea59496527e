"""The text family: word embeddings, averaged or convolved, concatenated with all other inputs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tidegate.models.errors import OptionsError
from tidegate.models.families import USUAL_TASKS, FamilyOptions
from tidegate.models.families.mlp import Width
from tidegate.models.networks.heads.dense_head import dense_head
from tidegate.models.networks.inputs import Inputs, joined
from tidegate.models.networks.outputs import Outputs

TASKS = (*USUAL_TASKS, "tagging")


class Options(FamilyOptions):
    """Options of `family: text`."""

    embedding: int = Field(64, ge=1, description="Size of a word's embedding.")
    mode: Literal["pooling", "convolution"] = Field(
        "pooling", description="Average the words of a text, or apply a convolution over neighbouring words."
    )
    filters: int = Field(128, ge=1, description="Filters of mode convolution.")
    kernel_size: int = Field(5, ge=1, description="Words per filter of mode convolution.")
    dense: tuple[Width, ...] = Field((64,), description="Width of each dense layer before the outputs.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout rate before each dense layer.")


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of texts as word ids, int32 (rows, length) with 0 as padding; float32 (rows, units) out.

    Of a tagging, with one text alone, each token is a row of its own: the output is float32 (rows, length, units).

    Raises:
        OptionsError: no input is text, or a tagging has other inputs or reads no neighbours.
    """
    import keras

    texts = inputs.require("text", "text")
    if outputs.tokens:
        return _tagger(inputs, outputs, options)
    towers = [_tower(ids, inputs.specs[name].vocabulary, options) for name, ids in texts.items()]
    x = joined([*towers, *inputs.without("text")])
    x = dense_head(x, options.dense, options.dropout)
    return keras.Model(inputs.tensors, outputs.layer(x), name="text")


def _tagger(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    import keras
    from keras import layers

    ((name, ids),) = inputs.of_kind("text").items()
    inputs.require_alone(name, "text")
    if options.mode != "convolution":
        raise OptionsError(
            f"option 'model.mode' is {options.mode!r}, and the target has a label for each token; expected "
            "convolution, which reads a token's neighbours; set it"
        )
    words, present = _words(ids, inputs.specs[name].vocabulary, options)
    x = layers.Conv1D(options.filters, options.kernel_size, padding="same", activation="relu")(words)
    x = dense_head(layers.Multiply()([x, present]), options.dense, options.dropout)
    return keras.Model(inputs.tensors, outputs.layer(x), name="text")


def _words(ids: Any, vocabulary: int, options: Options) -> tuple[Any, Any]:
    """The words' embeddings, zeros for padding, and 1 for each word, 0 for padding."""
    from keras import layers, ops

    words = layers.Embedding(vocabulary, options.embedding)(ids)
    present = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), words.dtype), -1)
    return layers.Multiply()([words, present]), present


def _tower(ids: Any, vocabulary: int, options: Options) -> Any:
    """Padding is ignored in both modes; a text without words gives zeros, where a mask layer would give NaN."""
    from keras import layers, ops

    words, present = _words(ids, vocabulary, options)
    if options.mode == "convolution":
        found = layers.Conv1D(options.filters, options.kernel_size, padding="same", activation="relu")(words)
        return layers.GlobalMaxPooling1D()(layers.Multiply()([found, present]))
    count = ops.maximum(ops.sum(present, axis=1), 1)
    return ops.divide(ops.sum(words, axis=1), count)
