"""`make zoo`: every example from its name to a live endpoint, and one table of what was reached.

`python -m tests.zoo [NAME...]`; without names all. Each figure stands beside the gate's and beside what another method
reaches on the same rows, computed in the same call. Ends with 1 where an example did not reach its figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.zoo.beside import beside

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "pipelines" / "experiments"
TIDEGATE = str(Path(sys.executable).parent / "tidegate")
HEAD = ("experiment", "reached", "must reach", "beside it", "runtime", "parity", "training", "in all")


@dataclass(frozen=True)
class Result:
    """One example's line; `passed` is whether the gate let it through."""

    cells: tuple[str, ...]
    passed: bool


def run(name: str, home: Path) -> Result:
    """Submit one example and take its endpoint down again."""
    began = time.perf_counter()
    argv = [TIDEGATE, "submit", name, "--home", str(home), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    experiment = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text("utf-8"))
    if done.returncode not in (0, 3):
        told = " ".join(done.stderr.split())[-300:]
        return Result((name, "failed", "", "", "", "", "", told), False)
    answer = json.loads(done.stdout)
    reached, wanted = _figures(experiment, answer["metrics"])
    training = sum(step["seconds"] for step in answer["steps"] if step["step"] == "train")
    proof = "" if answer["parity"] is None else f"{answer['parity']:.1e}"
    told = beside(name, experiment)
    if experiment["model"].get("pretrain"):
        told += f"; without pretraining {without_pretraining(name, home, experiment)}"
    cells = (name, reached, wanted, told, answer["runtime"] or "", proof)
    return Result((*cells, f"{training:.0f} s", f"{seconds:.0f} s"), done.returncode == 0)


def without_pretraining(name: str, home: Path, experiment: dict[str, Any]) -> str:
    """What the same network reaches that begins with random weights; nothing is released."""
    words = ("model.pretrain=null", "gate=[{metric: test_loss, maximum: 0}]")
    argv = [TIDEGATE, "submit", name, "--home", str(home), "--json"]
    argv += [word for setting in words for word in ("--set", setting)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return _figures(experiment, json.loads(done.stdout)["metrics"])[0] if done.returncode == 3 else "failed"


def _figures(experiment: dict[str, Any], metrics: dict[str, float]) -> tuple[str, str]:
    """What the gate's metrics are, and what they have to be."""
    gate = experiment.get("gate", [])
    reached, wanted = [], []
    for criterion in [gate] if isinstance(gate, dict) else gate:
        metric = criterion["metric"]
        reached.append(f"{metric.removeprefix('test_')} {metrics[metric]:.4g}")
        bounds = {"minimum": ">=", "maximum": "<="}
        wanted += [f"{sign} {criterion[key]:g}" for key, sign in bounds.items() if key in criterion]
    return ", ".join(reached), ", ".join(wanted)


def main(names: list[str]) -> int:
    """Run the examples named, or all, and print the table line by line."""
    names = names or sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    passed = True
    with tempfile.TemporaryDirectory(prefix="tidegate-zoo-") as folder:
        home = Path(folder)
        try:
            for name in names:
                result = run(name, home)
                passed = passed and result.passed
                print(f"| {' | '.join(result.cells)} |", flush=True)
                subprocess.run(
                    [TIDEGATE, "delete", name, "--home", str(home)], capture_output=True, check=False
                )
        finally:
            subprocess.run([TIDEGATE, "down", "--home", str(home)], capture_output=True, check=False)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
