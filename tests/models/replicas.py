"""One training on TensorFlow whose batches several devices share: `python -m tests.models.replicas CASE [FOLDER]`.

The CPU is cut into four logical devices. Prints as JSON by number of devices the figures of each epoch and the largest
difference of a variable from those of one device; the devices of the operations; and, where a folder is given, the
digests of a training on two devices to its end and of one that is stopped again and again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.models.families.test_every_family import learned
from tests.models.together import BATCH, EPOCHS, HELD_OUT, ROWS, rows
from tests.models.training.test_checkpoint import Files
from tidegate.models.distributed.tensorflow_replicas import devices_for, shared_step
from tidegate.models.errors import StoppedError
from tidegate.models.families import FAMILIES
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

DEVICES = (1, 2, 4)
IMAGE = {"x": InputSpec((8, 8, 1), "float32", "image")}
TEN = outputs_for("classification", 10, 0)
CNN = {"family": "cnn", "filters": [4], "dense": [8], "batch_norm": True, "dropout": 0.3}
CHANGED = {
    "augmentation": {"flip": "both", "rotate": 20, "shift": 0.1, "noise": 0.1},
    "class_weights": "balanced",
    "label_smoothing": 0.1,
}
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}


def own() -> Any:
    """What a user may build: nested graphs, masks, layers that draw and that count, penalties on activities."""
    given = keras.Input((8, 8, 1), name="x")
    x = layers.Masking()(layers.ReLU(threshold=1.0)(layers.Reshape((8, 8))(given)))
    x = layers.LSTM(6, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)(x)
    x = layers.BatchNormalization()(x)  # of what is not masked
    x = layers.SpatialDropout1D(0.2)(layers.GaussianNoise(0.1)(x))
    inner = keras.Input((8, 6))
    nested = keras.Model(inner, layers.BatchNormalization(renorm=True)(layers.Conv1D(5, 3)(inner)))
    x = keras.Sequential([nested, layers.Flatten(), layers.Dense(9), layers.BatchNormalization()])(x)
    x = layers.Dense(7, activation="tanh", activity_regularizer="l2")(x) + keras.ops.ones((1, 7))
    x = layers.Dropout(0.2, noise_shape=(None, 7))(layers.AlphaDropout(0.2)(x))
    return keras.Model({"x": given}, TEN.layer(x))


def trained(case: str, devices: int, keeper: Files | None = None) -> tuple[Any, Any]:
    """The model and its history."""
    if case in FAMILIES:
        return learned(case, gpus=devices, epochs=EPOCHS, optimizer=SGD, xla=False)
    keras.utils.set_random_seed(1)
    model = own() if case == "own" else build_model(CNN, IMAGE, TEN, 1)
    asked: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "xla": False, "checkpoint": {"every": 4}}
    # Not Adam for the other: a bias before a BatchNormalization has rounding errors for a gradient, which it scales.
    asked |= CHANGED if case == "changed" else {"optimizer": SGD}
    watch: dict[str, Any] = {"task": "classification", "classes": list(range(10)), "images": ["x"]}
    watch |= {"seed": 3, "gpus": devices, "checkpoints": keeper}
    return model, fit(model, rows(ROWS, 1), rows(HELD_OUT, 2), asked, **watch)


def digest(model: Any, history: Any) -> str:
    """Of every variable, seeds too, and of what each epoch told."""
    arrays = b"".join(np.asarray(variable).tobytes() for variable in model.variables)
    return hashlib.sha256(arrays + json.dumps(history.epochs).encode()).hexdigest()


def stopped(case: str, folder: Path) -> str:
    """The digest of a training on two devices that is stopped after every thirteenth batch."""
    while True:
        try:
            return digest(*trained(case, 2, Files(folder, most=13)))
        except StoppedError:
            continue


def used(model: Any, devices: list[str]) -> list[str]:
    """The devices of a step's operations."""
    (inputs, y) = rows(BATCH, 1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    step = tf.function(shared_step(model, devices), autograph=False)
    graph = step.get_concrete_function((inputs, y.astype(np.int32))).graph
    return sorted(
        {operation.device for operation in graph.get_operations() if operation.device} & set(devices)
    )


def main(case: str, folder: Path | None) -> dict[str, Any]:
    """See above."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(DEVICES))
    found: dict[str, Any] = {}
    first: list[np.ndarray] = []
    for devices in DEVICES:
        model, history = trained(case, devices)
        arrays = [np.asarray(variable).astype(np.float64) for variable in model.variables]
        first = first or arrays
        apart = max(float(np.abs(one - other).max()) for one, other in zip(arrays, first, strict=True))
        found[str(devices)] = {"epochs": history.epochs, "apart": apart}
    if folder is not None:
        found["used"] = used(model, devices_for(4, BATCH))
        found["digests"] = [digest(*trained(case, 2)), stopped(case, folder)]
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)))
