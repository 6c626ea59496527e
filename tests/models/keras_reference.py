"""What Keras computes for a few networks, on the backend that KERAS_BACKEND names.

In float64 on TensorFlow. On JAX and torch in float32: there Keras' own `tanh` answers float32 whatever it is given.

As a program it writes the values of one backend to a file: `python -m tests.models.keras_reference FILE.npz`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

BATCH, ROWS, EPOCHS = 8, 16, 3
RATE, MOMENTUM = 0.125, 0.875  # Keras rounds the momentum to float32: these stay what they are
ACTIVATIONS = ("sigmoid", "tanh", "relu", "softmax")


@contextmanager
def precise() -> Iterator[None]:
    """Let Keras compute, and count its metrics, in float64 where it can."""
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy()
    if keras.backend.backend() == "tensorflow":
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Normal numbers that float32 can hold, as float64."""
    return (0.5 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32).astype(np.float64)


def data(shape: tuple[int, ...], target: str) -> tuple[np.ndarray, np.ndarray]:
    """ROWS rows and their targets, the same in every process."""
    random = np.random.default_rng(3)
    x = 2 * drawn(3, ROWS, *shape)
    y = {
        "numbers": drawn(4, ROWS, 2),
        "index": random.integers(0, 3, ROWS),
        "one hot": np.eye(3)[random.integers(0, 3, ROWS)],
        "sign": random.choice([-1.0, 1.0], (ROWS, 2)),
        "probability": random.choice([0.0, 1.0], (ROWS, 1)),
    }
    return x, y[target]


def networks() -> dict[str, tuple[tuple[int, ...], list[Any], str, str, dict[str, Any]]]:
    """Shape of a row, layers, target, loss and the settings of SGD, by a name."""
    from keras import layers

    return {
        "dense": ((4,), [layers.Dense(2)], "numbers", "mean_squared_error", {}),
        "mlp": (
            (4,),
            [
                layers.Dense(6, "relu"),
                layers.Dense(5, "tanh"),
                layers.Dense(5, "sigmoid"),
                layers.Dense(3, "softmax"),
            ],
            "index",
            "sparse_categorical_crossentropy",
            {"momentum": MOMENTUM},
        ),
        "cnn": (
            (9, 8, 2),
            [
                layers.Conv2D(4, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(3, 2, activation="tanh"),
                layers.AveragePooling2D(2),
                layers.Flatten(),
                layers.Dense(3, "softmax"),
            ],
            "one hot",
            "categorical_hinge",
            {"momentum": MOMENTUM, "nesterov": True},
        ),
        "recurrent": (
            (5, 3),
            [layers.SimpleRNN(4, return_sequences=True), layers.SimpleRNN(3), layers.Dense(2, "tanh")],
            "sign",
            "hinge",
            {},
        ),
        "lstm": (
            (5, 3),
            [layers.LSTM(4, return_sequences=True), layers.LSTM(3), layers.Dense(1, "sigmoid")],
            "probability",
            "binary_crossentropy",
            {"momentum": MOMENTUM},
        ),
    }


def built(name: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """A compiled network with weights that are the same on every backend, and its data."""
    import keras

    shape, layers, target, loss, settings = networks()[name]
    given = keras.Input(shape)
    answer = given
    for layer in layers:
        answer = layer(answer)
    model = keras.Model(given, answer)
    model.set_weights([drawn(place, *weight.shape) for place, weight in enumerate(model.get_weights())])
    model.compile(keras.optimizers.SGD(RATE, **settings), loss, run_eagerly=keras.backend.backend() != "jax")
    return model, *data(shape, target)


def reference(name: str) -> dict[str, np.ndarray]:
    """The loss curve, the weights before, after one batch, and at the end of training one network with Keras' `fit`."""
    model, x, y = built(name)
    found = {f"first.{place}": weight for place, weight in enumerate(model.get_weights())}
    plain = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    one = model.fit(x[:BATCH], y[:BATCH], epochs=1, **plain).history["loss"]
    found |= {f"second.{place}": weight for place, weight in enumerate(model.get_weights())}
    found["losses"] = np.array([*one, *model.fit(x, y, epochs=EPOCHS, **plain).history["loss"]])
    return found | {f"last.{place}": weight for place, weight in enumerate(model.get_weights())}


def functions() -> dict[str, np.ndarray]:
    """Every activation and loss by itself."""
    import keras

    z = 6 * drawn(1, 6, 3)
    numpy = keras.ops.convert_to_numpy
    found = {
        name: numpy(getattr(keras.activations, name)(keras.ops.convert_to_tensor(z, keras.config.floatx())))
        for name in ACTIVATIONS
    }
    p, one_hot = found["softmax"], np.eye(3)[[0, 2, 1, 1, 0, 2]]
    cases = {
        "mean_squared_error": (z, one_hot),
        "categorical_crossentropy": (p, one_hot),
        "binary_crossentropy": (p, one_hot),
        "hinge": (z, 2 * one_hot - 1),
        "categorical_hinge": (z, one_hot),
    }
    return found | {name: numpy(getattr(keras.losses, name)(y, of)) for name, (of, y) in cases.items()}


def everything() -> dict[str, np.ndarray]:
    """`reference` of each network and `functions`, under one name each."""
    with precise():
        found = {f"{name}/{key}": value for name in networks() for key, value in reference(name).items()}
        return found | {f"functions/{key}": value for key, value in functions().items()}


if __name__ == "__main__":
    assert os.environ["KERAS_BACKEND"] in ("jax", "torch")
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
    np.savez(sys.argv[1], **everything())
