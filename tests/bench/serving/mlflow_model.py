"""Save the network in Keras as an MLflow model, which is what its users serve: `… mlflow_model mlp|cnn FOLDER`."""

import sys

import keras
import mlflow.tensorflow
import numpy as np
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

SHAPE = (28, 28, 1)


def network(name: str) -> keras.Model:
    """The layers of `tests.bench.serving.models`, untrained: the time they take is the same."""
    layers = keras.layers
    hidden: list[keras.Layer] = []
    if name == "mlp":
        hidden = [layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(64, "relu")]
    else:
        for filters in (8, 16):
            hidden += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPool2D()]
        hidden.append(layers.Flatten())
    return keras.Sequential([keras.Input(SHAPE, name="image"), *hidden, layers.Dense(10, "softmax")])


def main() -> None:
    """Save it."""
    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *SHAPE), "image")])
    outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 10), "output")])
    mlflow.tensorflow.save_model(
        network(sys.argv[1]),
        sys.argv[2],
        signature=ModelSignature(inputs, outputs),
        pip_requirements=["tensorflow"],
    )


if __name__ == "__main__":
    main()
