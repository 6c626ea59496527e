"""The smallest training and a digest of its weights: forked from a server, or `python -m tests.bench.forks_child`."""

import hashlib
import sys
from collections.abc import Sequence

import numpy as np


def main(_: Sequence[str] | None = None) -> int:
    """Train it in this process and print the digest."""
    import keras

    keras.utils.set_random_seed(7)
    rows = np.random.default_rng(7).normal(size=(256, 8)).astype("float32")
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.layers.Input((8,)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(rows, rows.argmax(axis=1) % 3, epochs=1, batch_size=32, verbose=0)
    weights = b"".join(np.asarray(value).tobytes() for value in model.get_weights())
    print(hashlib.sha256(weights).hexdigest()[:16])
    return 0


if __name__ == "__main__":
    sys.exit(main())
