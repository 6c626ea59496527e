"""The baseline: what a person would write in Keras for the `digits` experiment, without anything around it."""

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    rest, test, rest_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=7, stratify=labels
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=0.125, random_state=7, stratify=rest_labels
    )
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        train,
        train_labels,
        batch_size=32,
        epochs=30,
        validation_data=(validation, validation_labels),
        verbose=0,
    )
    predictions = model.predict(test, verbose=0)
    print(float(np.mean(predictions.argmax(axis=1) == test_labels)))
    model.save("model.keras")


if __name__ == "__main__":
    main()
