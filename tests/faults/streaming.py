"""A training whose rows stay on the disk: `python -m tests.faults.streaming FOLDER MIB`.

It writes shards and trains on the first; then, after each line: on all of them; and takes all rows into memory.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, concat, load_columns
from tidegate.models.data.shards import ShardWriter
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms

MEMORY = 64 << 20  # what windows are told: each takes a 32nd of it
SHARD = 4 << 20


def rows(draw: np.random.Generator, count: int) -> Columns:
    y = np.sort(draw.integers(0, 10, count))
    x = draw.integers(0, 200, (count, 28, 28), dtype=np.uint8)
    x[np.arange(count), y] += 50  # one bright line of pixels a class
    return {"x": x, "y": y}


def main(folder: Path, size: int) -> None:
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.outputs import Outputs
    from tidegate.models.preprocessing.windows import ShuffleWindows
    from tidegate.models.training.fit import fit

    draw, kept = np.random.default_rng(4), iter(range(10_000))
    writer = ShardWriter(folder, lambda path: path.rename(folder / f"{next(kept)}.npz"), SHARD)
    first = rows(draw, SHARD // 784)
    for _ in range(size // SHARD):
        writer.add(rows(draw, SHARD // 784 + 1))
    writer.close()
    schema = infer_schema(first, None, ["y"], "classification")
    transforms = Transforms.fit(schema, first)
    model = build_model({"family": "linear"}, transforms.input_specs, Outputs(10, "softmax"), 7)

    def learn(paths: list[Path]) -> dict[str, Any]:
        windows = ShuffleWindows(paths, schema, transforms, np.ones(10, np.int64), MEMORY, 128)
        training = {"epochs": 1, "batch_size": 128}
        history = fit(model, windows, None, training, task="classification", classes=tuple(range(10)), seed=7)
        return {"accuracy": history.epochs[-1]["accuracy"], "rows": windows.rows, "windows": windows.windows}

    def hold() -> dict[str, Any]:
        return {"rows": len(concat([load_columns(path) for path in writer.kept])["y"])}

    for step in (lambda: learn(writer.kept[:1]), lambda: learn(writer.kept), hold):
        print(json.dumps(step()), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) << 20)
