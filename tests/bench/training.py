"""`make bench-training`: an epoch of ours over an epoch of plain `model.fit`, for each kind of network and backend;
and what a second process is worth.

Each backend is a process of its own. In it the loops are driven in slices of some batches, ours and Keras' in turn, so
that a slow moment of the machine hits both; the ratio is that of their median seconds a batch. In the same way one
process on a core and two on a core each go through the same epochs in turn.
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
PAIR_ROWS, PAIR_BATCH = 4_096, 512
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


def measure_pair() -> dict[str, Any]:
    """As a member of two, each on a core of its own: seconds an epoch of the first one alone, and of both."""
    from models.group import join, member_here

    member, cores = member_here(), sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[member.rank % len(cores)]})
    group = join(member, 600.0, print)
    loops, order = (_loop(spread=False), _loop(spread=True)), np.arange(PAIR_ROWS, dtype=np.int32)
    alone, both = [], []
    for _ in range(ROUNDS):
        if member.rank == 0:
            alone.append(_seconds(loops[0], order))
        _seconds(loops[1], order)  # the second member has waited for the first: not counted
        both.append(_seconds(loops[1], order))
    group.leave()
    return {"alone": statistics.median(alone[2:] or [0.0]), "both": statistics.median(both[2:])}


def _loop(spread: bool) -> Any:
    from models.build import build_model, repeatable
    from models.compile import compile_model
    from models.loops.jax import TRAIN, Loop
    from models.loops.spread import spread_over
    from models.outputs import Outputs
    from models.training import Training
    from models.transforms import InputSpec

    random = np.random.default_rng(0)
    x, y = random.random((PAIR_ROWS, 784), dtype=np.float32), random.integers(0, 10, PAIR_ROWS)
    repeatable(7)
    specs = {"x": InputSpec((784,), "float32", "numeric")}
    model = build_model({"family": "mlp", "hidden": [512, 256]}, specs, Outputs(10, "softmax"), 7)
    options = Training.model_validate({"batch_size": PAIR_BATCH, "optimizer": SGD, "backend": "jax"})
    compile_model(model, ({"x": x}, y), options, "classification", 10, PAIR_ROWS // PAIR_BATCH)
    data, devices = ({"x": x}, y.astype(np.int32)), spread_over(0, PAIR_BATCH) if spread else None
    return Loop(model, model.train_step, TRAIN, data, PAIR_BATCH, spread=devices)


def _seconds(loop: Any, order: np.ndarray) -> float:
    began = time.perf_counter()
    for _ in loop.run(order):
        pass
    return time.perf_counter() - began


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(measure_pair() if sys.argv[1] == "member" else pair()))
        return
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

    print("\n| network | processes | one, an epoch | two | speed | efficiency |\n|---|---|---|---|---|---|")
    row = pair()
    one, two = (f"{row[key] * 1000:.0f} ms" for key in ("alone", "both"))
    speed = row["alone"] / row["both"]
    print(
        f"| 784-512-256-10, batch 512 | jax, a core each | {one} | {two} | {speed:.2f}x | {speed / 2:.0%} |"
    )


def pair() -> dict[str, Any]:
    """What the first of two members measured."""
    from models.group import Member, meeting_here

    meeting = meeting_here()
    argv = [sys.executable, "-m", "tests.bench.training", "member"]
    members = []
    for rank in (0, 1):
        env = {**os.environ, "KERAS_BACKEND": "jax", **Member(rank, 2, meeting).environment()}
        members.append(subprocess.Popen(argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE))
    told = [member.communicate()[0] for member in members]
    if any(member.returncode for member in members):
        raise SystemExit("a member failed")
    row: dict[str, Any] = json.loads(told[0].splitlines()[-1])
    return row


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
