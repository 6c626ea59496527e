"""`make bench`: ratios against baselines that run in turn with ours, in one call; the README keeps the table."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.search.__main__ import ROWS as SEARCHES
from tests.bench.search.__main__ import measured as measured_searches

ROOT = Path(__file__).parents[2]
ROUNDS = 3
QUICK_ROUNDS = 15


def seconds_of(argv: list[str], folder: Path, **env: str) -> float:
    """Wall seconds of a whole process; its output is read only when it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    spent = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr[-2000:]}")
    return spent


def tidegate(*args: str) -> list[str]:
    """The command as installed beside this interpreter."""
    return [str(Path(sys.executable).parent / "tidegate"), *args]


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Each measure once a round, so that a slow minute of the machine hits all of them."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return taken


class Table:
    """What was measured, as Markdown."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def add(self, what: str, value: str, baseline: str, result: str, goal: str) -> None:
        self.rows.append(f"| {what} | {value} | {baseline} | {result} | {goal} |")
        print(self.rows[-1], flush=True)


def bench_submit(table: Table, folder: Path) -> None:
    """From one file to a live endpoint, over the plain script of the same training."""
    fresh = iter(range(1000))
    warm_home = folder / "warm"
    env = {"BENTOML_HOME": str(folder / "bentoml")}

    def plain() -> float:
        return seconds_of([sys.executable, str(ROOT / "tests/bench/plain.py")], folder)

    steps: list[list[dict[str, Any]]] = []

    def cold() -> float:
        home = folder / f"cold-{next(fresh)}"
        spent = seconds_of(tidegate("submit", "digits", "--home", str(home)), folder, **env)
        steps.append(steps_of(home))
        seconds_of(tidegate("down", "--home", str(home)), folder)
        return spent

    def warm() -> float:
        argv = tidegate("submit", "digits", "--home", str(warm_home), "--set", f"training.seed={next(fresh)}")
        argv += ["--set", "gate.improve_on_champion=null"]
        return seconds_of(argv, folder, **env)

    def again() -> float:
        return seconds_of(tidegate("submit", "digits", "--home", str(warm_home)), folder, **env)

    seconds_of(tidegate("submit", "digits", "--home", str(warm_home)), folder, **env)
    script, first, next_ones, same = in_turn(ROUNDS, plain, cold, warm, again)
    base = statistics.median(script)
    for what, values, goal in (
        ("first submit, MLflow started too", first, "<= 1.0x"),
        ("next submit of a changed file, MLflow and fork servers run", next_ones, "<= 0.6x"),
    ):
        ratio = statistics.median(a / b for a, b in zip(values, script, strict=True))
        spent = statistics.median(values)
        table.add(what, f"{spent:.1f} s", f"plain Keras script {base:.1f} s", f"{ratio:.2f}x", goal)
    table.add("the same submit again", f"{statistics.median(same):.2f} s", "", "", "1-2 s")
    for index, step in enumerate(steps[0]):
        values = [each[index]["seconds"] for each in steps]
        table.add(f"step {step['step']}", f"{statistics.median(values):.2f} s", "", "", "")
    seconds_of(tidegate("down", "--home", str(warm_home)), folder)


def steps_of(home: Path) -> list[dict[str, Any]]:
    """The steps of the only run of a home."""

    def asked(*args: str) -> Any:
        return json.loads(subprocess.check_output(tidegate(*args, "--json", "--home", str(home)), text=True))

    steps: list[dict[str, Any]] = asked("show", asked("runs")[0]["run"])["steps"]
    return steps


def bench_start(table: Table, folder: Path) -> None:
    """How long the command line takes before it does anything."""
    bare, parsed, helped, planned = in_turn(
        QUICK_ROUNDS,
        lambda: seconds_of([sys.executable, "-c", "pass"], folder),
        lambda: seconds_of([sys.executable, "-c", "import pydantic, yaml"], folder),
        lambda: seconds_of(tidegate("--help"), folder),
        lambda: seconds_of(tidegate("plan", "digits", "--home", str(folder / "plan")), folder),
    )
    for what, values, code, base, goal in (
        ("--help", helped, "pass", bare, "<= 0.15 s"),
        ("plan digits", planned, "pass", bare, "<= 0.3 s"),
        ("plan digits", planned, "'import pydantic, yaml'", parsed, "<= 0.12 s"),
    ):
        more = statistics.median(a - b for a, b in zip(values, base, strict=True))
        spent = statistics.median(values)
        table.add(
            f"tidegate {what}",
            f"{spent:.3f} s",
            f"python -c {code} {statistics.median(base):.3f} s",
            f"+{more:.3f} s",
            goal,
        )


def bench_epoch(table: Table) -> None:
    """One training epoch, over plain `model.fit` with the same model, rows and batches, in one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.epoch"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    for row in json.loads(done.stdout.splitlines()[-1]):
        table.add(
            f"an epoch of {row['what']}",
            f"{row['ours'] * 1000:.0f} ms",
            f"model.fit {row['fit'] * 1000:.0f} ms",
            f"{row['ours'] / row['fit']:.2f}x",
            "<= 1.0x",
        )


def main() -> None:
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print("| what | seconds | baseline in the same run | result | goal |\n|---|---|---|---|---|")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        bench_start(table, Path(folder))
        bench_submit(table, Path(folder))
        bench_epoch(table)
    measured_searches(list(SEARCHES), ROUNDS)


if __name__ == "__main__":
    main()
