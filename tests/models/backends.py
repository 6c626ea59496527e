"""The loss curve of a training on the backend that KERAS_BACKEND names, ours and plain `model.fit`'s.

Both begin with the same weights, read from a file, and go through the same order of batches.
`KERAS_BACKEND=... python -m tests.models.backends CASE WEIGHTS.npz` prints {"ours": [...], "fit": [...]}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from models.build import build_model
from models.fit import fit
from models.outputs import outputs_for
from models.transforms import InputSpec

SEED, EPOCHS, ROWS, BATCH = 3, 4, 450, 64
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "mlp": ({"family": "mlp", "hidden": [128, 64]}, (784,), "numeric"),
    "cnn": ({"family": "cnn", "filters": [4], "dense": [8], "dropout": 0}, (8, 8, 1), "image"),
    "lstm": ({"family": "lstm", "units": [6]}, (7, 3), "numeric"),
}


def built(case: str) -> Any:
    """The untrained network."""
    model, shape, kind = CASES[case]
    return build_model(
        model, {"x": InputSpec(shape, "float32", kind)}, outputs_for("classification", 10, 0), 1
    )


def rows(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Seeded rows that can be learned."""
    random, shape = np.random.default_rng(0), CASES[case][1]
    y = random.integers(0, 10, ROWS)
    x = random.normal(0, 1, (10, *shape))[y] + random.normal(0, 1, (ROWS, *shape))
    return x.astype(np.float32), y


def ours(case: str, weights: list[np.ndarray]) -> list[float]:
    """The losses of our loop."""
    model, (x, y) = built(case), rows(case)
    model.set_weights(weights)
    training = {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "optimizer": SGD,
        "backend": os.environ["KERAS_BACKEND"],
    }
    history = fit(
        model, ({"x": x}, y), None, training, task="classification", classes=list(range(10)), seed=SEED
    )
    return [epoch["loss"] for epoch in history.epochs]


def plain(case: str, weights: list[np.ndarray]) -> list[float]:
    """The losses of `model.fit`, an epoch a call, given the rows in the order our loop takes them."""
    import keras

    model, (x, y) = built(case), rows(case)
    model.set_weights(weights)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    losses = []
    for epoch in range(EPOCHS):
        order = np.random.default_rng([SEED, epoch]).permutation(ROWS)
        told = model.fit({"x": x[order]}, y[order], batch_size=BATCH, shuffle=False, verbose=0)
        losses.append(float(told.history["loss"][0]))
    return losses


def main(path: Path) -> dict[str, dict[str, list[float]]]:
    """Every case from the weights in the file; TensorFlow makes the file where there is none."""
    if not path.exists():
        named = {
            f"{case}/{index}": array
            for case in CASES
            for index, array in enumerate(built(case).get_weights())
        }
        np.savez(path, **named)
    found = {}
    with np.load(path) as file:
        for case in CASES:
            count = sum(name.startswith(f"{case}/") for name in file)
            weights = [file[f"{case}/{index}"] for index in range(count)]
            found[case] = {"ours": ours(case, weights), "fit": plain(case, weights)}
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
