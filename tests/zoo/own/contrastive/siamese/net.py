"""An encoder whose embedding has length 1, and a classifier on it."""

import keras
from keras import layers


def build(inputs, outputs, width=32):
    (x,) = inputs.values()
    x = layers.Reshape((8, 8, 1))(layers.Flatten()(x))
    x = layers.Conv2D(16, 3, activation="relu", padding="same")(x)
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    embedding = layers.UnitNormalization(name="embedding")(layers.Dense(width)(x))
    return keras.Model(inputs, outputs.layer(embedding))
