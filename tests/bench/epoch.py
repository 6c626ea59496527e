"""Seconds an epoch of our training loop and of `model.fit`, in turn in one process; prints JSON."""

import json
import statistics
import time
from typing import Any

import numpy as np

from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

EPOCHS = 6
ROUNDS = 3
CASES = {
    "digits 64-128-64-10, 1,258 rows": ((64,), 1258, 32, [128, 64], 0.0),
    "784-128-64-10, 20,000 rows": ((784,), 20000, 64, [128, 64], 0.0),
    "784-256-128-10 with dropout, 20,000 rows": ((784,), 20000, 128, [256, 128], 0.2),
}


def rows(shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeded rows: speed does not depend on what they show."""
    generator = np.random.default_rng(0)
    return generator.random((count, *shape), dtype=np.float32), generator.integers(0, 10, count)


def model_of(shape: tuple[int, ...], hidden: list[int], dropout: float) -> Any:
    """The same network for both."""
    spec = {"x": InputSpec(shape, "float32", "numeric")}
    return build_model(
        {"family": "mlp", "hidden": hidden, "dropout": dropout}, spec, Outputs(10, "softmax"), 7
    )


def ours(shape: tuple[int, ...], count: int, batch: int, hidden: list[int], dropout: float) -> float:
    """Median seconds between two epochs' ends, the first left out."""
    x, y = rows(shape, count)
    ends: list[float] = []
    training = {"epochs": EPOCHS, "batch_size": batch}
    fit(
        model_of(shape, hidden, dropout),
        ({"x": x}, y),
        None,
        training,
        task="classification",
        classes=list(range(10)),
        seed=7,
        on_epoch=lambda *_: ends.append(time.perf_counter()),
    )
    return statistics.median(np.diff(ends))


def plain(shape: tuple[int, ...], count: int, batch: int, hidden: list[int], dropout: float) -> float:
    """The same with `model.fit`."""
    import keras

    x, y = rows(shape, count)
    ends: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    model = model_of(shape, hidden, dropout)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit({"x": x}, y, batch_size=batch, epochs=EPOCHS, verbose=0, callbacks=[note])
    return statistics.median(np.diff(ends))


def main() -> None:
    found = []
    for what, case in CASES.items():
        pairs = [(ours(*case), plain(*case)) for _ in range(ROUNDS)]
        found.append(
            {
                "what": what,
                "ours": statistics.median(a for a, _ in pairs),
                "fit": statistics.median(b for _, b in pairs),
            }
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
