"""What a second process is worth: one on a core and two on a core each, through the same epochs in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from tests.bench.training import ROOT, ROUNDS
from tests.bench.training.loops import SGD

PAIRS = ((4_096, 512), (16_384, 4_096))  # rows and batch size


def table() -> None:
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
    from tidegate.models.distributed.process_group import Member, free_local_address

    meeting = free_local_address()
    argv = [sys.executable, "-m", "tests.bench.training.pairs", str(rows), str(batch)]
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


def measure_pair(rows: int, batch: int) -> dict[str, Any]:
    """As a member of two, each on a core of its own: seconds an epoch of the first one alone, and of both."""
    from tidegate.models.distributed.process_group import current_member, join

    member, cores = current_member(), sorted(os.sched_getaffinity(0))
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
    from tidegate.models.config.training import Training
    from tidegate.models.distributed.jax_sharding import batch_sharding
    from tidegate.models.families.build import build_model
    from tidegate.models.loops.jax import TRAIN, Loop
    from tidegate.models.networks.determinism import make_deterministic
    from tidegate.models.networks.outputs import Outputs
    from tidegate.models.preprocessing.transforms import InputSpec
    from tidegate.models.training.compile import compile_model

    random = np.random.default_rng(0)
    x, y = random.random((rows, 784), dtype=np.float32), random.integers(0, 10, rows)
    make_deterministic(7)
    specs = {"x": InputSpec((784,), "float32", "numeric")}
    model = build_model({"family": "mlp", "hidden": [512, 256]}, specs, Outputs(10, "softmax"), 7)
    options = Training.model_validate({"batch_size": batch, "optimizer": SGD, "backend": "jax"})
    compile_model(model, ({"x": x}, y), options, "classification", 10, rows // batch)
    data, devices = ({"x": x}, y.astype(np.int32)), batch_sharding(0, batch) if spread else None
    return Loop(model, model.train_step, TRAIN, data, batch, spread=devices)


if __name__ == "__main__":
    print(json.dumps(measure_pair(int(sys.argv[1]), int(sys.argv[2]))))
