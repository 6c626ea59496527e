"""`make bench-gpu`: an epoch of ours on a GPU over plain `model.fit`'s on it, and over ours on the CPU beside it; then
Fashion-MNIST in float32 and in mixed precision, with the accuracy each reaches.

Each backend that is installed is a process of its own, which drives ours and `fit` in turn, an epoch each; told are the
medians. float32 is float32 here: ours does without TensorFloat-32 (`make_deterministic`), so `fit` does too.
"""

import argparse
import json
import os
import statistics
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from tests.bench.training import asked

ROUNDS = 3
BACKENDS = ("tensorflow", "jax", "torch")
PRECISIONS = ("float32", "mixed_bfloat16")
LARGE = ("784-2048-2048-10", "CNN 28x28, 32-64", "transformer, 128 words, 6 x 512")  # mixed precision too
ON_THE_CPU_TOO = ("784-128-64-10", "CNN 28x28, 32-64")
WORDS = 8_000
# What: rows of an epoch, batch size, shape of a row, kind of input, model.
CASES: dict[str, tuple[int, int, tuple[int, ...], str, dict[str, Any]]] = {
    "784-128-64-10": (60_000, 64, (784,), "numeric", {"family": "mlp", "hidden": [128, 64]}),
    "784-2048-2048-10": (60_000, 1_024, (784,), "numeric", {"family": "mlp", "hidden": [2048, 2048]}),
    "CNN 28x28, 32-64": (20_000, 128, (28, 28, 1), "image", {"family": "cnn", "filters": [32, 64]}),
    "LSTM 50x6, 64": (4_000, 64, (50, 6), "numeric", {"family": "lstm", "units": [64]}),
    "transformer, 96 words, 2 x 96": (4_000, 32, (96,), "text", {"family": "transformer"}),
    "transformer, 128 words, 6 x 512": (
        4_096,
        64,
        (128,),
        "text",
        {"family": "transformer", "width": 512, "layers": 6, "heads": 8, "feed_forward": 2048},
    ),
}


def measure(name: str, precision: str, rounds: int) -> dict[str, float]:
    """Median seconds an epoch, of ours and of `fit`, in turn; the first epoch of each, which compiles, is left out."""
    from tests.bench.training.loops import Ours, Plain
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.outputs import Outputs
    from tidegate.models.preprocessing.transforms import InputSpec

    count, batch, shape, kind, options = CASES[name]
    random = np.random.default_rng(0)
    x: np.ndarray = random.random((count, *shape), dtype=np.float32)
    if kind == "text":
        x = random.integers(1, WORDS, (count, *shape)).astype(np.int32)
    y = random.integers(0, 10, count)
    spec = InputSpec(shape, str(x.dtype), kind, WORDS if kind == "text" else 0)
    models = [build_model(options, {"x": spec}, Outputs(10, "softmax"), 7, precision) for _ in range(2)]
    loops = {"ours": Ours(models[0], x, y, batch, 10).epoch, "fit": Plain(models[1], x, y, batch).epoch}
    spent: dict[str, list[float]] = {what: [] for what in loops}
    for _ in range(rounds + 1):
        for what, run in loops.items():
            spent[what].append(run())
    return {what: statistics.median(seconds[1:]) for what, seconds in spent.items()}


def learn(precision: str, epochs: int = 6) -> dict[str, float]:
    """Accuracy on Fashion-MNIST's test images and seconds of training, of a CNN."""
    from tidegate.models.datasets import load_dataset
    from tidegate.models.families.build import as_float32, build_model
    from tidegate.models.networks.outputs import Outputs
    from tidegate.models.networks.predict import predict
    from tidegate.models.preprocessing.transforms import InputSpec
    from tidegate.models.training.fit import fit

    columns, held = load_dataset("fashion-mnist")
    x = columns["image"].astype(np.float32)[..., None] / 255
    y, specs = columns["label"].astype(np.int64), {"x": InputSpec((28, 28, 1), "float32", "image")}
    options, outputs = {"family": "cnn", "filters": [32, 64], "dropout": 0.3}, Outputs(10, "softmax")
    model = build_model(options, specs, outputs, 7, precision)
    training = {
        "epochs": epochs,
        "batch_size": 128,
        "optimizer": "adam",
        "backend": os.environ["KERAS_BACKEND"],
    }
    rows = ({"x": x[:-held]}, y[:-held])
    history = fit(model, rows, None, training, task="classification", classes=range(10), seed=7)
    answers = predict(as_float32(model, options, specs, outputs), {"x": x[-held:]})
    return {"accuracy": float((answers.argmax(1) == y[-held:]).mean()), "seconds": history.seconds}


def main() -> None:
    """The tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    backends = [backend for backend in BACKENDS if find_spec(backend)]
    parser.add_argument("--backends", nargs="+", default=backends, help="only these")
    parser.add_argument("--networks", default="", help="only those whose name begins so")
    given = parser.parse_args()
    print("| network | backend | precision | ours, an epoch | fit over ours | ours on the CPU over it |")
    print("|---|---|---|---|---|---|")
    for backend in given.backends:
        for name in (name for name in CASES if name.startswith(given.networks)):
            for precision in PRECISIONS if name in LARGE else PRECISIONS[:1]:
                print(line(backend, name, precision), flush=True)
    print("\n| CNN 32-64, Fashion-MNIST, 6 epochs | accuracy | training |\n|---|---|---|")
    for precision in (*PRECISIONS, "mixed_float16"):
        row = asked("tests.bench.gpu", given.backends[0], "here", "learn", precision)
        print(
            f"| {precision}, {given.backends[0]} | {row['accuracy']:.4f} | {row['seconds']:.1f} s |",
            flush=True,
        )


def line(backend: str, name: str, precision: str) -> str:
    """One network's."""
    row, beside = asked("tests.bench.gpu", backend, "here", name, precision, str(ROUNDS)), ""
    if backend == "jax" and precision == "float32" and name in ON_THE_CPU_TOO:
        cpu = asked("tests.bench.gpu", backend, "here", name, precision, "1", JAX_PLATFORMS="cpu")["ours"]
        beside = f"{cpu / row['ours']:.1f}x"
    ratio = f"{row['fit'] / row['ours']:.2f}x"
    return f"| {name} | {backend} | {precision} | {row['ours'] * 1000:.0f} ms | {ratio} | {beside} |"


def here(words: list[str]) -> dict[str, float]:
    """One measure, in this process."""
    from tidegate.models.distributed.devices import configure_backend, require_gpus

    configure_backend(os.environ["KERAS_BACKEND"])
    if "JAX_PLATFORMS" not in os.environ:
        require_gpus(1)
    return learn(words[1]) if words[0] == "learn" else measure(words[0], words[1], int(words[2]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["here"]:
        print(json.dumps(here(sys.argv[2:])))
    else:
        main()
