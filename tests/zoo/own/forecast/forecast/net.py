"""A GRU over the hours that were measured; it answers all hours ahead at once."""

import keras
from keras import layers


def build(inputs, outputs, *, units=24):
    state = layers.GRU(units)(inputs["past"])
    return keras.Model(inputs, outputs.layer(layers.Dense(units, activation="relu")(state)))
