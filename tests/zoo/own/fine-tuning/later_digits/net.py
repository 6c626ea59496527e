"""The backbone, and a new head on it."""

import keras
from keras import layers


def backbone():
    """Two convolutions; pixels of 0 to 1."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(12, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu", padding="same"),
        ],
        name="backbone",
    )


def build(inputs, outputs, *, weights):
    base = backbone()
    base.load_weights(weights)
    base.trainable = False
    features = layers.Flatten()(base(inputs["image"]))
    return keras.Model(inputs, outputs.layer(layers.Dropout(0.2)(features)))
