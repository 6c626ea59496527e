"""Networks of each kind, on each backend: all loops in turn, an epoch each."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from tests.bench.training import ROUNDS, asked
from tests.bench.training.loops import Ours, Plain, by_hand
from tests.bench.training.products import products

BACKENDS = ("tensorflow", "jax", "torch")
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
    """Seconds and CPU seconds an epoch of each kind of loop, in turn, in this process."""
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.determinism import make_deterministic
    from tidegate.models.networks.outputs import Outputs
    from tidegate.models.preprocessing.transforms import InputSpec

    count, batch, shape, kind, options, epochs = CASES[name]
    random = np.random.default_rng(0)
    x, y = random.random((count, *shape), dtype=np.float32), random.integers(0, 10, count)
    specs = {"x": InputSpec(shape, "float32", kind)}
    models = [build_model(options, specs, Outputs(10, "softmax"), 7) for _ in range(2)]
    make_deterministic(7)
    ours = Ours(models[0], x, y, batch, epochs)
    loops: dict[str, Callable[[], float]] = {"ours": ours.epoch, "fit": Plain(models[1], x, y, batch).epoch}
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        loops["products"] = products(models[0], batch, -(-count // batch), ours.xla)
    if backend == "torch":
        loops["by hand"] = by_hand(models[0], x, y, batch)
    spent: dict[str, list[tuple[float, float]]] = {what: [] for what in loops}
    for _ in range(ROUNDS):
        for what, run in loops.items():
            cpu = time.process_time()
            spent[what].append((run(), time.process_time() - cpu))
    return {"xla": ours.xla} | {
        what: [statistics.median(column) for column in zip(*seconds[2:], strict=True)]
        for what, seconds in spent.items()
    }


def table() -> None:
    """A line for each network and backend."""
    print(
        "| network | backend | ours, an epoch | model.fit | fit over ours | the same of CPU seconds | beside it |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in CASES:
        for backend in BACKENDS:
            if find_spec(backend) is None:
                continue
            row = asked("tests.bench.training.networks", backend, name)
            how = f"{backend}{' + XLA' if row.pop('xla') and backend == 'tensorflow' else ''}"
            (own, own_cpu), (fit, fit_cpu) = row.pop("ours"), row.pop("fit")
            words = {"products": "its products alone", "by hand": "PyTorch by hand"}
            beside = ", ".join(
                f"{words[key]} {told * 1000:.0f} ms, fit over it {fit / told:.1f}x"
                for key, (told, _) in row.items()
            )
            times = f"{own * 1000:.0f} ms | {fit * 1000:.0f} ms | {fit / own:.2f}x | {fit_cpu / own_cpu:.2f}x"
            print(f"| {name} | {how} | {times} | {beside} |", flush=True)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
