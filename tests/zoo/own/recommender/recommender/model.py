"""A factorisation with a bias for each user and movie, and what the day adds."""

import keras
from keras import layers


def build(inputs, outputs, *, dim=8):
    factors, biases = [], []
    for name in ("user", "movie"):
        factors.append(embedded(inputs[name], dim, f"{name}_factors"))
        biases.append(embedded(inputs[name], 1, f"{name}_bias"))
    match = layers.Dot(1)(factors)
    day = layers.Dense(4, activation="relu")(inputs["features"])
    return keras.Model(inputs, outputs.layer(layers.Concatenate()([match, *biases, day])))


def embedded(ids, width, name):
    penalty = keras.regularizers.L2(1e-6)
    table = layers.Embedding(ids.vocabulary, width, embeddings_regularizer=penalty, name=name)
    return layers.Flatten()(table(ids))
