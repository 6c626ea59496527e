"""`python -m tests.bench.streaming`: rows a second that stay on the disk over rows in memory, in turn in one process.

The same network and the same prepared rows. "from the disk": the kernel is told to forget the shards before each epoch.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, concat, load_columns
from tidegate.models.data.shards import ShardWriter
from tidegate.models.preprocessing.encoding.encoder_fitting import in_parts
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms

ROUNDS = 7
BATCH = 256
MEMORY = 1 << 30
# What: rows, shape and dtype of a row, model.
CASES: dict[str, tuple[int, tuple[int, ...], str, dict[str, Any]]] = {
    "images 28x28, MLP 784-128-64-10": (60_000, (28, 28), "uint8", {"family": "mlp", "hidden": [128, 64]}),
    "100 float32 numbers, MLP 100-128-64-10": (
        200_000,
        (100,),
        "float32",
        {"family": "mlp", "hidden": [128, 64]},
    ),
    "images 28x28, CNN 16-32": (6_000, (28, 28), "uint8", {"family": "cnn", "filters": [16, 32]}),
}


def measure(what: str, folder: Path) -> dict[str, float]:
    """Median rows a second, by where the rows are."""
    from tidegate.models.preprocessing.windows import ShuffleWindows

    count, shape, dtype, options = CASES[what]
    columns = rows(count, shape, dtype)
    schema = infer_schema(columns, None, ["y"], "classification")
    transforms = Transforms.fit(schema, columns)
    numbers = iter(range(10_000))
    writer = ShardWriter(folder, lambda path: path.rename(folder / f"{next(numbers)}.npz"))
    for part in in_parts(columns):
        writer.add(part)
    writer.close()
    windows = ShuffleWindows(writer.kept, schema, transforms, np.bincount(columns["y"]), MEMORY, BATCH)
    held = concat([load_columns(path) for path in writer.kept])
    del columns
    inside = epochs(transforms, options, (transforms.apply(held), transforms.target(schema, held)))
    outside = epochs(transforms, options, windows)
    seconds: dict[str, list[float]] = {"in memory": [], "streamed": [], "streamed, from the disk": []}
    for _ in range(ROUNDS):
        seconds["in memory"].append(next(inside))
        seconds["streamed"].append(next(outside))
        forget(writer.kept)
        seconds["streamed, from the disk"].append(next(outside))
    return {name: count / statistics.median(found[2:]) for name, found in seconds.items()} | {
        "windows": windows.windows
    }


def rows(count: int, shape: tuple[int, ...], dtype: str) -> Columns:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (count, *shape)).astype(dtype)
    return {"x": x, "y": random.integers(0, 10, count)}


def forget(paths: list[Path]) -> None:
    """Have the kernel drop the files' pages."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def epochs(transforms: Transforms, options: dict[str, Any], train: Any) -> Iterator[float]:
    """Seconds of one epoch after another, as `fit` goes through them."""
    from tidegate.models.config.training import Training
    from tidegate.models.families.build import build_model
    from tidegate.models.loops import LoopSpec, make_loops
    from tidegate.models.loops.streamed import StreamedLoop, StreamedRows
    from tidegate.models.loops.tensorflow import xla_pays
    from tidegate.models.networks.outputs import Outputs
    from tidegate.models.training.compile import compile_model

    model = build_model(options, transforms.input_specs, Outputs(10, "softmax"), 7)
    streams = not isinstance(train, tuple)
    settings = Training.model_validate({"batch_size": BATCH, "epochs": 100})
    count = train.rows if streams else len(train[1])
    batches = -(-count // BATCH)
    loss = compile_model(model, train.example if streams else train, settings, "classification", 10, batches)

    def data(part: Any) -> tuple[Any, ...]:
        return part[0], part[1].astype(np.int32)

    given = StreamedRows(train, BATCH, data) if streams else data(train)
    loop = make_loops(LoopSpec(model, given, None, settings, loss, 7, xla_pays(model, batches * 100)))[0]
    generator = np.random.default_rng(7)
    order: Callable[[np.random.Generator], np.ndarray] = (
        train.order if streams else lambda draw: draw.permutation(count).astype(np.int32)
    )
    coming = order(generator)
    while True:
        began = time.perf_counter()
        now, coming = coming, order(generator)
        if isinstance(loop, StreamedLoop):
            loop.prefetch(coming)
        model.reset_metrics()
        for _ in loop.run(now):
            pass
        yield time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the shards lie; a temporary folder when not given")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    given = parser.parse_args()
    print("| rows | in memory, rows/s | streamed | streamed, from the disk |\n|---|---|---|---|")
    for what in (case for case in CASES if case.startswith(given.only)):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            found = measure(what, Path(folder))
        base = found["in memory"]
        ratios = " | ".join(f"{found[name] / base:.2f}x" for name in ("streamed", "streamed, from the disk"))
        print(f"| {what}, {found['windows']:.0f} windows | {base:,.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
