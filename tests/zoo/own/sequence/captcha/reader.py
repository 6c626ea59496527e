"""Reads a code from left to right: convolution over the columns, a recurrent layer, and one sign at each place."""

import keras
from keras import layers


class Reader(keras.Model):
    def __init__(self, signs):
        super().__init__()
        self.turned = layers.Permute((2, 1))
        self.seen = layers.Conv1D(32, 3, padding="same", activation="relu")
        self.placed = layers.MaxPooling1D(6)
        self.read = layers.Bidirectional(layers.GRU(24, return_sequences=True))
        self.sign = layers.Dense(signs, activation="softmax")

    def call(self, strip):
        return self.sign(self.read(self.placed(self.seen(self.turned(strip)))))


def build(inputs, outputs):
    del inputs, outputs
    return Reader(6)
