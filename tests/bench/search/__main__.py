"""`python -m tests.bench.search`: searches beside a plain Optuna script, folds, a trial's start, and memory.

`--rows NAME …` measures some of them, `--turns N` how often (3); `make bench` prints all. Each row is a ratio of what
ran in turn in the same call. Every search has a home of its own, so that MLflow's start and the imports count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from tests.bench.search import memory, start
from tests.bench.search.runs import EPOCHS, forget, plain, search

HEAD = "| what | seconds | baseline in the same run | result | goal |\n|---|---|---|---|---|"


def searched(
    folder: Path, turns: int, trials: int, parallelism: int, epochs: int, goal: str, plain_too: str
) -> str:
    """A search to its live endpoint, over the plain script with the same trials: wall seconds, and CPU seconds."""
    walls, cpus, both, accuracies = [], [], [], []
    for turn in range(turns):
        ours = search(
            folder / f"{trials}-{parallelism}-{turn}",
            "digits-search",
            search__trials=trials,
            search__parallelism=parallelism,
            search__pruning=None,
            training__epochs=epochs,
        )
        seconds, cpu, told = plain(folder, ours, epochs)
        walls.append(ours.seconds / seconds)
        cpus.append(ours.cpu / cpu)
        both.append((ours.seconds, seconds))
        accuracies.append((ours.accuracy(), told["accuracy"]))
        forget(ours)
    mine, theirs = (statistics.median(pair[side] for pair in both) for side in (0, 1))
    return (
        f"| {trials} trials of digits-search, {parallelism} at once, to the endpoint | {mine:.1f} s, accuracy "
        f"{accuracies[-1][0]:.4f} | {plain_too} {theirs:.1f} s, accuracy {accuracies[-1][1]:.4f} | "
        f"{statistics.median(walls):.2f}x, CPU {statistics.median(cpus):.2f}x | {goal} |"
    )


def sixteen(folder: Path, turns: int) -> str:
    return searched(folder, turns, 16, 2, EPOCHS, "<= 0.8x", "Optuna and Keras, one process")


def sixteen_in_line(folder: Path, turns: int) -> str:
    return searched(folder, turns, 16, 1, EPOCHS, "<= 1.1x", "Optuna and Keras, one process")


def hundred(folder: Path, turns: int) -> str:
    """A training of 0.2 s: 12 epochs of 1,258 rows in Keras' own loop take a little more."""
    return searched(folder, turns, 100, 2, EPOCHS, "<= 0.7x", "Optuna and Keras, one process")


def folds(folder: Path, turns: int) -> str:
    """The train step of `wine` with five more models, over the one without."""
    number, ratios, seconds = count(), [], []
    for _ in range(turns):
        taken = []
        for settings in ({"data__split__folds": 5}, {}):
            ours = search(folder / f"folds-{next(number)}", "wine", **settings)
            taken += [step["seconds"] for step in ours.answer["steps"] if step["step"] == "train"]
            forget(ours)
        ratios.append(taken[0] / taken[1])
        seconds.append(taken)
    mine, theirs = (statistics.median(pair[side] for pair in seconds) for side in (0, 1))
    return (
        f"| train step of wine with 5 folds | {mine:.1f} s | without folds {theirs:.1f} s | "
        f"{statistics.median(ratios):.2f}x | <= 1.5x |"
    )


ROWS: dict[str, Callable[[Path, int], str]] = {
    "sixteen": sixteen,
    "sixteen-in-line": sixteen_in_line,
    "hundred": hundred,
    "start": start.row,
    "folds": folds,
    "memory": memory.row,
}


def measured(names: Sequence[str], turns: int) -> None:
    """Print the rows, each as soon as it is there."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        for name in names:
            print(ROWS[name](Path(folder), turns), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    print(HEAD)
    measured(given.rows, given.turns)


if __name__ == "__main__":
    main()
