"""A training that is killed again and again and goes on each time, in forks of a process that has imported Keras.

`KERAS_BACKEND=... python -m tests.faults.trainings BACKEND KILLS FOLDER` prints what came of it, as JSON.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.store import FolderStore
from tidegate.models.distributed.devices import configure_backend
from tidegate.models.training.checkpoint import TrainingProgress
from tidegate.pipelines.state.checkpoints import StoreKeeper

SEED = 2026
ROWS, HELD_OUT = 200, 40
TRAINING = {
    "epochs": 9,
    "batch_size": 16,
    "checkpoint": {"every": 2},
    "learning_rate_schedule": {"name": "reduce_on_plateau", "patience": 0},
    "early_stopping": {"patience": 8},
}
SGD = {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9}


def network(backend: str) -> Any:
    """Dropout, and where there are equations for more: augmentation and batch normalisation."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)
    x = given = keras.Input((8, 8, 1), name="x")
    if backend != "numpy":
        x = layers.RandomFlip("horizontal")(x)
        x = layers.RandomTranslation(0.2, 0.2)(x)
        x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    x = layers.Dropout(0.3)(layers.Dense(16, activation="relu")(layers.Flatten()(x)))
    return keras.Model({"x": given}, layers.Dense(3, activation="softmax")(x))


def train(backend: str, keeper: StoreKeeper | None, note: Callable[..., None]) -> str:
    """Train, and name the result: a digest of every weight, every seed and every epoch's values."""
    from tidegate.models.training.fit import fit

    draw = np.random.default_rng(SEED)
    x = draw.normal(size=(ROWS + HELD_OUT, 8, 8, 1)).astype(np.float32)
    y = (x.mean(axis=(1, 2, 3)) > 0).astype(np.int64) + (x[:, 0, 0, 0] > 0)
    model = network(backend)
    history = fit(
        model,
        ({"x": x[:ROWS]}, y[:ROWS]),
        ({"x": x[ROWS:]}, y[ROWS:]),
        {**TRAINING, "backend": backend, "optimizer": SGD if backend == "numpy" else "adam"},
        task="classification",
        classes=(0, 1, 2),
        seed=SEED,
        on_resume=note,
        checkpoints=keeper,
    )
    told = hashlib.sha256(json.dumps(history.epochs).encode())
    for variable in model.variables:
        told.update(np.asarray(variable).tobytes())
    return told.hexdigest()


class Beating(StoreKeeper):
    """Says before and after each checkpoint that it lives, so that it can be killed in the middle of one."""

    pipe = -1

    def save(self, path: Path) -> None:
        os.write(self.pipe, b"<")
        super().save(path)
        os.write(self.pipe, b">")


def forked(work: Callable[[int], str], beats: int = 0, pause: float = 0.0) -> str | None:
    """What `work` returns in a fork; None: it was killed, `pause` seconds after it had written so many beats."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.write(writing, b"!" + work(writing).encode())
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        os._exit(1)
    os.close(writing)
    said, killed = b"", False
    while chunk := os.read(reading, 1):
        said += chunk
        if beats and not killed and len(said) >= beats:
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
            killed = True
        if chunk == b"!":
            said += os.read(reading, 1000)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert status == 0, "the training failed"
    return said.partition(b"!")[2].decode()


def main(backend: str, kills: int, folder: Path) -> dict[str, Any]:
    """Kill the training so many times at seeded moments, and let it end."""
    configure_backend(backend)
    if not (
        backend == "torch" and Path("/dev/nvidia0").exists()
    ):  # which can not be forked once it has a GPU
        for module in (
            "tidegate.models.training.fit",
            {"numpy": "tensorflow"}.get(backend, backend),
            "keras",
        ):
            import_module(module)  # what every fork needs
    dice, places = random.Random(SEED), folder / "places"
    places.touch()

    def note(progress: TrainingProgress, _: int) -> None:
        with places.open("a") as file:
            file.write(f"{progress.epoch}.{progress.batch} ")

    def attempt(pipe: int) -> str:
        keeper = Beating(FolderStore(folder / "store"), "training", folder, print)
        keeper.pipe = pipe
        return train(backend, keeper, note)

    expected = forked(lambda _: train(backend, None, note))
    killed = 0
    while killed < kills:
        found = forked(attempt, dice.randint(1, 6), dice.random() * 0.02)
        assert found is None, f"the training ended after {killed} kills"
        killed += 1
    return {"expected": expected, "found": forked(attempt), "places": places.read_text().split()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # JAX and Python warn of forks; nothing was computed before them
    sys.stdout, out = sys.stderr, sys.stdout
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))), file=out)
