"""Masked-language pretraining of a text encoder: it predicts words that were masked.

Source: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", NAACL 2019, section 3.1: of the chosen words 80 % are masked, 10 % are replaced by a random word and
10 % stay. A masked word has the id 1, which is also the id of unseen words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.options import parse_options
from tidegate.models.families import family
from tidegate.models.training.fit import fit

MASK = 1
FIRST_WORD = 2
Ids = NDArray[np.int32]


def pretrain(model: Any, options: Mapping[str, Any], inputs: Mapping[str, Any], seed: int) -> None:
    """Pretrain the text encoder of `model` in place, if its family has an option `pretrain` and it is given.

    Args:
        model: untrained; one of its layers is called `encoder_INPUT` and is a model itself.
        options: the experiment's `model:` section.
        inputs: the training rows' model inputs by name.
        seed: seeds the maskings, the initial weights of the prediction head, and the order of the texts.
    """
    own = dict(options)
    name = own.pop("family", None)
    settings = (
        getattr(parse_options(family(str(name)).Options, own, "model"), "pretrain", None) if name else None
    )
    if settings is not None:
        encoder = next(layer for layer in model.layers if layer.name.startswith("encoder_"))
        ids = inputs[encoder.name.removeprefix("encoder_")]
        pretrain_encoder(encoder, ids, seed, **settings.model_dump())


def pretrain_encoder(
    encoder: Any,
    ids: Ids,
    seed: int,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    masked: float,
    copies: int,
) -> list[float]:
    """Train `encoder` in place and return the loss of each epoch in nats per predicted word.

    Args:
        encoder: a Keras model from word ids (rows, length) to (rows, length, width), with a layer "words", its
            ReversibleEmbedding.
        ids: int32 (rows, length), 0 is padding.
        seed: seeds everything random.
        epochs, batch_size, learning_rate: for Adam with cosine decay.
        masked: fraction of a text's words that are predicted.
        copies: maskings of each text; an epoch has one of each text on average.
    """
    import keras

    length = ids.shape[1]
    vocabulary = encoder.get_layer("words").input_dim
    random = np.random.default_rng([seed, 3])
    parts = [mask_words(ids, vocabulary, masked, random) for _ in range(copies)]
    hidden, places, words = (np.concatenate(part) for part in zip(*parts, strict=True))
    model = _with_head(encoder, length, places.shape[1])
    history = fit(
        model,
        ({"ids": hidden, "places": places}, words),
        None,
        {
            "epochs": max(1, round(epochs / copies)),
            "batch_size": batch_size,
            "backend": keras.backend.backend(),
            "optimizer": {"name": "adam", "learning_rate": learning_rate},
            "learning_rate_schedule": {"name": "cosine"},
            # An unused position has the label 0, which is padding and ignored.
            "loss": {"name": "sparse_categorical_crossentropy", "ignore_class": 0},
        },
        task="classification",
        classes=range(vocabulary),
        seed=seed,
        on_epoch=lambda epoch, values, _: print(f"pretraining, epoch {epoch + 1}: loss {values['loss']:.4f}"),
    )
    return [epoch["loss"] for epoch in history.epochs]


def mask_words(ids: Ids, vocabulary: int, masked: float, random: np.random.Generator) -> tuple[Ids, Ids, Ids]:
    """Mask words of texts.

    Returns:
        The texts with masked words (rows, length), the positions to predict (rows, k) and the true words (rows, k); an
        unused position is 0 with word 0. In each text with a known word at least one is predicted.
    """
    rows, length = ids.shape
    most = max(1, round(masked * length))
    known = ids >= FIRST_WORD
    score = np.where(known, random.random(ids.shape), 2.0)
    order = score.argsort(axis=1)[:, :most]
    counts = np.clip(np.round(masked * known.sum(axis=1)), 1, most)
    chosen = (np.arange(most) < counts[:, None]) & np.take_along_axis(known, order, axis=1)
    words = np.where(chosen, np.take_along_axis(ids, order, axis=1), 0).astype(np.int32)
    fate = random.random((rows, most))
    replaced = random.integers(FIRST_WORD, max(vocabulary, FIRST_WORD + 1), (rows, most))
    shown = np.where(fate < 0.8, MASK, np.where(fate < 0.9, replaced, words))
    hidden = ids.copy()
    row, column = np.nonzero(chosen)
    hidden[row, order[row, column]] = shown[row, column]
    return hidden, np.where(chosen, order, 0).astype(np.int32), words


def _with_head(encoder: Any, length: int, most: int) -> Any:
    """The encoder with a prediction head at the given positions: probabilities (rows, most, words)."""
    import keras
    from keras import layers, ops

    ids = keras.Input((length,), dtype="int32", name="ids")
    places = keras.Input((most,), dtype="int32", name="places")
    x = ops.take_along_axis(encoder(ids), ops.expand_dims(places, -1), axis=1)
    x = layers.LayerNormalization()(layers.Dense(x.shape[-1], activation="gelu")(x))
    # The output weights are the word embeddings themselves (weight tying), so that they stay in the encoder.
    likely = encoder.get_layer("words")(x, reverse=True)
    guess = layers.Softmax(dtype=keras.config.floatx())(likely)
    return keras.Model({"ids": ids, "places": places}, guess, name="guess")
