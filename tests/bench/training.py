"""`make bench-training`: an epoch of ours over an epoch of plain `model.fit`, for each kind of network and backend.

Each backend is a process of its own. In it the loops are driven in slices of some batches, ours and Keras' in turn, so
that a slow moment of the machine hits both; the ratio is that of their median seconds a batch.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
ROUNDS = 7
BACKENDS = ("tensorflow", "jax", "torch")
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
# What, rows of an epoch, batch size, shape of a row, model, epochs that such a training has.
CASES: dict[str, tuple[int, int, tuple[int, ...], str, dict[str, Any], int]] = {
    "784-128-64-10": (20_000, 64, (784,), "numeric", {"family": "mlp", "hidden": [128, 64]}, 30),
    "64-128-64-10": (1_258, 32, (64,), "numeric", {"family": "mlp", "hidden": [128, 64]}, 30),
    "784-256-128-10, dropout": (
        20_000,
        128,
        (784,),
        "numeric",
        {"family": "mlp", "hidden": [256, 128], "dropout": 0.2},
        30,
    ),
    "CNN 28x28, 16-32": (2_000, 64, (28, 28, 1), "image", {"family": "cnn", "filters": [16, 32]}, 10),
    "LSTM 50x6, 64": (2_000, 64, (50, 6), "numeric", {"family": "lstm", "units": [64]}, 10),
}


def measure(name: str) -> dict[str, Any]:
    """Seconds an epoch of ours and of `fit`, in turn, in this process."""
    from models.build import build_model, repeatable
    from models.outputs import Outputs
    from models.transforms import InputSpec

    count, batch, shape, kind, options, epochs = CASES[name]
    random = np.random.default_rng(0)
    x, y = random.random((count, *shape), dtype=np.float32), random.integers(0, 10, count)
    specs = {"x": InputSpec(shape, "float32", kind)}
    models = [build_model(options, specs, Outputs(10, "softmax"), 7) for _ in range(2)]
    repeatable(7)
    ours, fit = Ours(models[0], x, y, batch, epochs), Plain(models[1], x, y, batch)
    seconds: list[tuple[float, float]] = [(ours.epoch(), fit.epoch()) for _ in range(ROUNDS)][2:]
    own, kerass = (statistics.median(column) for column in zip(*seconds, strict=True))
    return {"what": name, "ours": own, "fit": kerass, "xla": ours.xla}


class Ours:
    """Our loop, an epoch a call."""

    def __init__(self, model: Any, x: np.ndarray, y: np.ndarray, batch: int, epochs: int) -> None:
        from models.compile import compile_model
        from models.loops import Parts, make_loops
        from models.loops.tensorflow import xla_pays
        from models.training import Training

        backend = os.environ["KERAS_BACKEND"]
        options = Training.model_validate(
            {"batch_size": batch, "optimizer": SGD, "backend": backend, "epochs": epochs}
        )
        batches = -(-len(x) // batch)
        loss = compile_model(model, ({"x": x}, y), options, "classification", 10, batches)
        self.xla = backend == "jax" or xla_pays(model, batches * epochs)
        parts = Parts(model, ({"x": x}, y.astype(np.int32)), None, options, loss, 7, self.xla)
        self.model, self.loop = model, make_loops(parts)[0]
        self.random = np.random.default_rng(7)

    def epoch(self) -> float:
        began = time.perf_counter()
        self.model.reset_metrics()
        for _ in self.loop.run(self.random.permutation(self.loop.rows).astype(np.int32)):
            pass
        assert np.isfinite(float(self.model.get_metrics_result()["loss"]))
        return time.perf_counter() - began


class Plain:
    """`model.fit`, an epoch a call, as a user would write it."""

    def __init__(self, model: Any, x: np.ndarray, y: np.ndarray, batch: int) -> None:
        import keras

        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        self.model, self.x, self.y, self.batch = model, x, y, batch
        self.ends: list[float] = []
        self.note = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda *_: self.ends.append(-time.perf_counter()),
            on_epoch_end=lambda *_: self.ends.append(time.perf_counter()),
        )

    def epoch(self) -> float:
        self.ends.clear()
        self.model.fit(
            {"x": self.x}, self.y, batch_size=self.batch, epochs=1, verbose=0, callbacks=[self.note]
        )
        return sum(self.ends)


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[2])))
        return
    print("| network | backend | ours, an epoch | model.fit | ratio |\n|---|---|---|---|---|")
    for name in CASES:
        for backend in BACKENDS:
            if find_spec(backend) is not None:
                row = asked(backend, name)
                how = f"{backend}{' + XLA' if row['xla'] and backend == 'tensorflow' else ''}"
                own, fit = (f"{row[key] * 1000:.0f} ms" for key in ("ours", "fit"))
                print(
                    f"| {name} | {how} | {own} | {fit} | {row['fit'] / row['ours']:.2f}x |",
                    flush=True,
                )


def asked(backend: str, name: str) -> dict[str, Any]:
    """One case in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.training", backend, name]
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


if __name__ == "__main__":
    main()
