"""The loss curve of a training on the backend that KERAS_BACKEND names, ours and plain `model.fit`'s.

Both begin with the same weights, read from a file, and go through the same order of batches.
`KERAS_BACKEND=... python -m tests.models.backends WEIGHTS.npz CASE...` prints {case: {"ours": [...], "float64": [...],
"fit": [...]}}; without words what a training says whose loss is not finite.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.datasets import load_dataset
from tidegate.models.errors import NonFiniteLossError
from tidegate.models.families.build import build_model, precision_scope
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

SEED, EPOCHS, ROWS, BATCH = 3, 4, 450, 64  # of all but mnist-mlp
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
MNIST = "mnist-mlp"  # the experiment of this name: its network, its rows, its epochs
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    MNIST: ({"family": "mlp", "hidden": [128, 64]}, (784,), "numeric"),
    "mlp": ({"family": "mlp", "hidden": [128, 64]}, (784,), "numeric"),
    "cnn": ({"family": "cnn", "filters": [4], "dense": [8], "dropout": 0}, (8, 8, 1), "image"),
    "lstm": ({"family": "lstm", "units": [6]}, (7, 3), "numeric"),
    "sure": ({"family": "mlp", "hidden": [16]}, (784,), "numeric"),
}
NOT_PLAIN = (MNIST, "sure")  # the one takes long; Keras' own losses cut the other's at 16 on JAX and PyTorch


def built(case: str, precision: str = "float32") -> Any:
    """The untrained network."""
    model, shape, kind = CASES[case]
    return build_model(
        model, {"x": InputSpec(shape, "float32", kind)}, outputs_for("classification", 10, 0), 1, precision
    )


def rows(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Seeded rows that can be learned; of mnist-mlp its own."""
    if case == MNIST:
        columns, held_out = load_dataset("fashion-mnist")
        image, label = (columns[name][:-held_out] for name in ("image", "label"))
        return image.reshape(-1, 784).astype(np.float32) / 255, label.astype(np.int64)
    random, shape = np.random.default_rng(0), CASES[case][1]
    y = random.integers(0, 10, ROWS)
    x = random.normal(0, 1, (10, *shape))[y] + random.normal(0, 1, (ROWS, *shape))
    return x.astype(np.float32) * (4 if case == "sure" else 1), y


def ours(case: str, weights: list[np.ndarray], precision: str = "float32") -> list[float]:
    """The losses of our loop."""
    with precision_scope(precision):
        return _ours(case, weights, precision)


def _ours(case: str, weights: list[np.ndarray], precision: str) -> list[float]:
    model, (x, y) = built(case, precision), rows(case)
    model.set_weights(weights)
    training = {
        "epochs": epochs(case),
        "batch_size": BATCH,
        "optimizer": SGD,
        "backend": os.environ["KERAS_BACKEND"],
        "precision": precision,
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
    for epoch in range(epochs(case)):
        order = np.random.default_rng([SEED, epoch]).permutation(len(y))
        told = model.fit({"x": x[order]}, y[order], batch_size=BATCH, shuffle=False, verbose=0)
        losses.append(float(told.history["loss"][0]))
    return losses


def broken() -> str:
    """What a training says whose third batch has a row without a number."""
    x, y = rows("mlp")
    x[np.random.default_rng([SEED, 0]).permutation(ROWS)[2 * BATCH + 5]] = np.nan
    training = {"batch_size": BATCH, "backend": os.environ["KERAS_BACKEND"]}
    told = {"task": "classification", "classes": list(range(10)), "seed": SEED}
    try:
        fit(built("mlp"), ({"x": x}, y), None, training, **told)
    except NonFiniteLossError as error:
        return str(error)
    return "nothing"


def epochs(case: str) -> int:
    """How many are learned."""
    return 10 if case == MNIST else EPOCHS


def main(path: Path, cases: list[str]) -> dict[str, dict[str, list[float]]]:
    """These cases from the weights in the file; whoever comes first makes the file."""
    if not path.exists():
        named = {
            f"{case}/{index}": array
            for case in CASES
            for index, array in enumerate(built(case).get_weights())
        }
        np.savez(path, **named)
    found = {}
    with np.load(path) as file:
        for case in cases:
            count = sum(name.startswith(f"{case}/") for name in file)
            weights = [file[f"{case}/{index}"] for index in range(count)]
            found[case] = {"ours": ours(case, weights), "float64": ours(case, weights, "float64")}
            if case not in NOT_PLAIN:
                found[case]["fit"] = plain(case, weights)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:]) if len(sys.argv) > 1 else broken()))
