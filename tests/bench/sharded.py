"""`python -m tests.bench.sharded`: rows a second of `predict --shards` over `--offline`, in turn, each a process.

The same bundle, a small network of two numbers, and the same rows, as one file and as one a shard. The output of the
shards is compared with that of `--offline`. A ratio of 1 is the goal for files a shard each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from tests.cluster.small_bundles import make_bundle

KINDS = ("parquet", "jsonl", "csv")


def write(folder: Path, kind: str, files: int, rows: int) -> Path:
    """Rows of two numbers in so many files."""
    folder.mkdir(parents=True)
    values = np.random.default_rng(7).uniform(-2, 2, (rows, 2)).round(3)
    for number, part in enumerate(np.array_split(values, files)):
        path = folder / f"{number:03d}.{kind}"
        if kind == "parquet":
            table = pyarrow.table({"x": part[:, 0], "y": part[:, 1]})
            pyarrow.parquet.write_table(table, path, row_group_size=20_000)
        elif kind == "csv":
            path.write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in part.tolist()))
        else:
            path.write_text("".join(json.dumps({"x": x, "y": y}) + "\n" for x, y in part.tolist()))
    return folder


def timed(*words: str) -> tuple[float, float]:
    """Seconds of a command, and its CPU seconds, those of its children included."""
    before, began = os.times(), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "tidegate.pipelines.cli", "predict", *words], check=True, capture_output=True
    )
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, cpu


def measure(kind: str, shards: int, rows: int, rounds: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Medians of seconds and CPU seconds, by how it was predicted."""
    bundle = make_bundle(folder / "bundle", "quarters")
    one, many = write(folder / "one", kind, 1, rows), write(folder / "many", kind, shards, rows)
    home = ("--home", str(folder / "home"))
    found: dict[str, list[tuple[float, float]]] = {"--offline": [], "one file": [], "a file a shard": []}
    for turn in range(rounds):
        single = folder / f"single-{turn}.jsonl"
        source = ("--input", str(one / f"000.{kind}"))
        found["--offline"].append(timed(str(bundle), "--offline", *source, "--output", str(single), *home))
        for what, given in (("one file", one), ("a file a shard", many)):
            output = folder / f"{what.replace(' ', '-')}-{turn}"
            words = ("--input", str(given), "--output", str(output), "--shards", str(shards))
            found[what].append(timed(str(bundle), *words, *home))
            parts = b"".join(path.read_bytes() for path in sorted(output.glob("part-*")))
            assert parts.count(b"\n") == rows
            if what == "one file":
                assert parts == single.read_bytes()
    return {
        what: (statistics.median(wall for wall, _ in times), statistics.median(cpu for _, cpu in times))
        for what, times in found.items()
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", choices=KINDS, action="append")
    given = parser.parse_args()
    print(f"{given.rows:,} rows, {given.shards} shards one after the other, medians of {given.rounds} turns")
    for kind in given.kind or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(kind, given.shards, given.rows, given.rounds, Path(folder))
        base_wall, base_cpu = found["--offline"]
        for what, (wall, cpu) in found.items():
            rows = given.rows / wall
            ratio = f"{base_wall / wall:.2f} of the rows a second, {cpu / base_cpu:.2f} of the CPU seconds"
            print(f"{kind:8} {what:15} {rows:9,.0f} rows/s  {cpu:6.2f} CPU s  {ratio}")


if __name__ == "__main__":
    main()
