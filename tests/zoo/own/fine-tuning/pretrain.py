"""Learn the digits below five, and keep the backbone's weights: `python pretrain.py` wrote backbone.weights.h5."""

import keras
from keras import layers
from later_digits.data import load
from later_digits.net import backbone

if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    rows, base = load(most=4), backbone()
    given = keras.Input((8, 8, 1))
    model = keras.Model(given, layers.Dense(5, activation="softmax")(layers.Flatten()(base(given))))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(rows["image"][..., None] / 16, rows["digit"], epochs=15, verbose=2)
    base.save_weights("backbone.weights.h5")
