"""`make bench-training`: an epoch of ours over an epoch of plain `model.fit`, for each kind of network and backend;
beside them the network's matrix products alone, a loop written by hand in PyTorch where that is installed, and what a
second process is worth.

Each backend is a process of its own. In it all are driven in turn, an epoch each, so that a slow moment of the machine
hits all of them; told are the medians of an epoch's seconds. CPU seconds depend less on who else is busy. In the same
way one process on a core and two on a core each go through the same epochs in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
ROUNDS = 7
PAIRS = ((4_096, 512), (16_384, 4_096))  # rows and batch size
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
    """Seconds and CPU seconds an epoch of each kind of loop, in turn, in this process."""
    from models.build import build_model, repeatable
    from models.outputs import Outputs
    from models.transforms import InputSpec

    count, batch, shape, kind, options, epochs = CASES[name]
    random = np.random.default_rng(0)
    x, y = random.random((count, *shape), dtype=np.float32), random.integers(0, 10, count)
    specs = {"x": InputSpec(shape, "float32", kind)}
    models = [build_model(options, specs, Outputs(10, "softmax"), 7) for _ in range(2)]
    repeatable(7)
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
        self.xla = backend == "jax" or (backend == "tensorflow" and xla_pays(model, batches * epochs))
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


def products(model: Any, batch: int, batches: int, xla: bool) -> Callable[[], float]:
    """An epoch of nothing but what a network's layers multiply: the answer and both gradients, TensorFlow's kernels.

    No loop over the same batches can be faster. The weights change from batch to batch, so that nothing is left out.
    """
    import tensorflow as tf

    layers = [layer for layer in model.layers if layer.weights]
    parts = [part for layer in layers for part in _multiplied(layer, batch)]
    weights = [weight for layer in layers for weight in layer.weights if "kernel" in weight.name]

    def epoch(weights: list[Any], stop: Any) -> Any:
        def body(step: Any, seen: Any, weights: list[Any]) -> Any:
            found = [part(weight) for part, weight in zip(parts, weights, strict=True)]
            seen += sum(
                tf.reduce_max(of_given) for _, of_given in found[1:]
            )  # the first needs no such gradient
            changed = [weight - 1e-9 * of for weight, (of, _) in zip(weights, found, strict=True)]
            return step + 1, seen, changed

        start = (tf.constant(0), tf.constant(0.0), weights)
        last = tf.while_loop(lambda step, *_: step < stop, body, start, parallel_iterations=1)
        return last[1] + sum(
            tf.reduce_max(weight) for weight in last[2]
        )  # else the first layer would be left out

    run = tf.function(epoch, autograph=False, jit_compile=xla)
    begun = [tf.constant(weight.numpy()) for weight in weights]

    def timed() -> float:
        began = time.perf_counter()
        assert np.isfinite(run(begun, tf.constant(batches)).numpy())
        return time.perf_counter() - began

    return timed


def _multiplied(layer: Any, batch: int) -> list[Callable[[Any], tuple[Any, Any]]]:
    """For each kernel of a layer the products with it; told are the gradients of the kernel and of what is given."""
    import tensorflow as tf

    given = tf.random.stateless_normal((batch, *layer.input.shape[1:]), (1, 2))

    def dense(kernel: Any, given: Any = given) -> tuple[Any, Any]:
        answer = given @ kernel
        return tf.matmul(given, answer, transpose_a=True), tf.matmul(answer, kernel, transpose_b=True)

    def convolution(kernel: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch([kernel, given])
            answer = tf.nn.conv2d(given, kernel, 1, "SAME")
        return tuple(tape.gradient(answer, [kernel, given], output_gradients=answer))

    if type(layer).__name__ == "Conv2D":
        return [convolution]
    if type(layer).__name__ != "LSTM":
        return [dense]
    steps, units = given.shape[1], layer.units
    states = tf.random.stateless_normal((steps * batch, units), (3, 4))
    gates = tf.random.stateless_normal((steps * batch, 4 * units), (5, 6))

    def recurrent(kernel: Any) -> tuple[Any, Any]:
        """Each step's two need the step's before; the gradient of the kernel is one product."""

        def body(step: Any, state: Any) -> tuple[Any, Any]:
            return step + 1, 0.1 * tf.matmul(state @ kernel, kernel, transpose_b=True)

        last = tf.while_loop(lambda step, _: step < steps, body, (tf.constant(0), states[:batch]))[1]
        return tf.matmul(states, gates, transpose_a=True), last

    flat = tf.reshape(given, (steps * batch, -1))
    return [lambda kernel: dense(kernel, flat), recurrent]


def by_hand(model: Any, x: np.ndarray, y: np.ndarray, batch: int) -> Callable[[], float]:
    """An epoch of the same network as a person writes it in PyTorch."""
    import torch
    from torch import nn

    class Last(nn.Module):
        def forward(self, found: Any) -> Any:
            return found[0][:, -1]

    class Swapped(nn.Module):
        def forward(self, image: Any) -> Any:
            return image.permute(0, 3, 1, 2)

    def module(layer: Any) -> list[Any]:
        kind, shape = type(layer).__name__, layer.input.shape
        if kind == "Dense":
            act = [nn.ReLU()] if layer.activation.__name__ == "relu" else []
            return [nn.Linear(shape[-1], layer.units), *act]
        if kind == "LSTM":
            return [nn.LSTM(shape[-1], layer.units, batch_first=True), Last()]
        if kind == "Conv2D":
            return [nn.Conv2d(shape[-1], layer.filters, layer.kernel_size, padding="same")]
        others = {"Dropout": lambda: nn.Dropout(layer.rate), "Flatten": nn.Flatten, "Activation": nn.ReLU}
        others["MaxPooling2D"] = lambda: nn.MaxPool2d(2)
        return [others[kind]()]

    swapped = [Swapped()] if x.ndim == 4 else []
    network = nn.Sequential(*swapped, *(part for layer in model.layers[1:] for part in module(layer)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    told, rows, classes = nn.CrossEntropyLoss(), torch.from_numpy(x), torch.from_numpy(y)

    def timed() -> float:
        began = time.perf_counter()
        total, right = torch.zeros(()), torch.zeros(())
        for chosen in torch.randperm(len(rows)).split(batch):
            answer, wanted = network(rows[chosen]), classes[chosen]
            loss = told(answer, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(chosen)
            right += (answer.argmax(1) == wanted).sum()
        assert np.isfinite(float(total)) and float(right) <= len(rows)
        return time.perf_counter() - began

    return timed


def measure_pair(rows: int, batch: int) -> dict[str, Any]:
    """As a member of two, each on a core of its own: seconds an epoch of the first one alone, and of both."""
    from models.group import join, member_here

    member, cores = member_here(), sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[member.rank % len(cores)]})
    group = join(member, 600.0, print)
    loops = [_loop(rows, batch, spread) for spread in (False, True)]
    order = np.arange(rows, dtype=np.int32)
    spent: dict[str, list[float]] = {"alone": [], "both": [], "cpu alone": [], "cpu both": []}

    def note(which: str, loop: Any) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in loop.run(order):
            pass
        spent[which].append(time.perf_counter() - began)
        spent[f"cpu {which}"].append(time.process_time() - cpu)

    for _ in range(ROUNDS):
        if member.rank == 0:
            note("alone", loops[0])
        for _ in loops[1].run(order):  # the second member has waited for the first: not counted
            pass
        note("both", loops[1])
    group.leave()
    return {which: statistics.median(seconds[2:] or [0.0]) for which, seconds in spent.items()}


def _loop(rows: int, batch: int, spread: bool) -> Any:
    from models.build import build_model, repeatable
    from models.compile import compile_model
    from models.loops.jax import TRAIN, Loop
    from models.loops.spread import spread_over
    from models.outputs import Outputs
    from models.training import Training
    from models.transforms import InputSpec

    random = np.random.default_rng(0)
    x, y = random.random((rows, 784), dtype=np.float32), random.integers(0, 10, rows)
    repeatable(7)
    specs = {"x": InputSpec((784,), "float32", "numeric")}
    model = build_model({"family": "mlp", "hidden": [512, 256]}, specs, Outputs(10, "softmax"), 7)
    options = Training.model_validate({"batch_size": batch, "optimizer": SGD, "backend": "jax"})
    compile_model(model, ({"x": x}, y), options, "classification", 10, rows // batch)
    data, devices = ({"x": x}, y.astype(np.int32)), spread_over(0, batch) if spread else None
    return Loop(model, model.train_step, TRAIN, data, batch, spread=devices)


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["member"]:
        print(json.dumps(measure_pair(int(words[1]), int(words[2]))))
    elif len(words) == 2:
        print(json.dumps(measure(words[1])))
    else:
        table()
        table_of_pairs()


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
            row = asked(backend, name)
            how = f"{backend}{' + XLA' if row.pop('xla') and backend == 'tensorflow' else ''}"
            (own, own_cpu), (fit, fit_cpu) = row.pop("ours"), row.pop("fit")
            words = {"products": "its products alone", "by hand": "PyTorch by hand"}
            beside = ", ".join(
                f"{words[key]} {told * 1000:.0f} ms, fit over it {fit / told:.1f}x"
                for key, (told, _) in row.items()
            )
            times = f"{own * 1000:.0f} ms | {fit * 1000:.0f} ms | {fit / own:.2f}x | {fit_cpu / own_cpu:.2f}x"
            print(f"| {name} | {how} | {times} | {beside} |", flush=True)


def table_of_pairs() -> None:
    """A line for each size of batch."""
    print(
        "\n| 784-512-256-10 on jax | one process, an epoch | two, a core each | speed | CPU of one, of each of two |"
    )
    print("|---|---|---|---|---|")
    for rows, batch in PAIRS:
        row = pair(rows, batch)
        one, two, cpu, each = (
            f"{row[key] * 1000:.0f} ms" for key in ("alone", "both", "cpu alone", "cpu both")
        )
        print(
            f"| batch {batch} | {one} | {two} | {row['alone'] / row['both']:.2f}x | {cpu}, {each} |",
            flush=True,
        )


def pair(rows: int, batch: int) -> dict[str, Any]:
    """What the first of two members measured."""
    from models.group import Member, meeting_here

    meeting = meeting_here()
    argv = [sys.executable, "-m", "tests.bench.training", "member", str(rows), str(batch)]
    members = []
    for rank in (0, 1):
        env = {**os.environ, "KERAS_BACKEND": "jax", **Member(rank, 2, meeting).environment()}
        members.append(
            subprocess.Popen(
                argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        )
    told = [member.communicate()[0] for member in members]
    if any(member.returncode for member in members):
        raise SystemExit("a member failed")
    row: dict[str, Any] = json.loads(told[0].splitlines()[-1])
    return row


def asked(backend: str, name: str) -> dict[str, Any]:
    """One case in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.training", backend, name]
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


if __name__ == "__main__":
    main()
