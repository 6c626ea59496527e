"""Searches through `tidegate submit`, and what their homes tell of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EPOCHS = 12  # of digits-search
SPACE = {"training.optimizer.learning_rate": "learning_rate", "model.dropout": "dropout"}


@dataclass(frozen=True)
class Searched:
    """One search.

    Attributes:
        seconds: from the command to its end, with a live endpoint.
        cpu: CPU seconds of everything that it started and that has ended.
        answer: what the command printed with `--json`.
        home: of the run.
    """

    seconds: float
    cpu: float
    answer: dict[str, Any]
    home: Path

    def trials(self) -> list[dict[str, Any]]:
        """The searched values of each trial, by the names that the plain script has for them."""
        return [
            {SPACE[name]: value for name, value in trial["params"].items()} for trial in self.answer["trials"]
        ]

    def accuracy(self) -> float:
        """The winner's, of the test rows."""
        return float(self.answer["metrics"]["test_accuracy"])


def command(*arguments: str) -> list[str]:
    """The command as installed beside this interpreter."""
    return [str(Path(sys.executable).parent / "tidegate"), *arguments]


def search(folder: Path, experiment: str, **settings: Any) -> Searched:
    """Submit an experiment in a home of its own, MLflow's start and a live endpoint included, and stop all of it.

    Args:
        folder: the home, which must not exist; it stays.
        experiment: its name.
        settings: dotted keys with `__` for the dot, and their values.
    """
    argv = command("submit", experiment, "--home", str(folder), "--json")
    for key, value in settings.items():
        argv += ["--set", f"{key.replace('__', '.')}={json.dumps(value)}"]
    # A fork server that stays would not be the command's child: its CPU seconds and memory would be missed.
    env = {**os.environ, "BENTOML_HOME": str(folder / "bentoml"), "TIDEGATE_WARM": "0"}
    try:
        seconds, cpu, printed = timed(argv, folder.parent, env)
        return Searched(seconds, cpu, json.loads(printed), folder)
    finally:
        subprocess.run(command("down", "--home", str(folder)), capture_output=True, check=True)


def timed(argv: list[str], folder: Path, env: dict[str, str] | None = None) -> tuple[float, float, str]:
    """Wall seconds and CPU seconds of a process with its children, and what it printed."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu, done.stdout


def plain(folder: Path, searched: Searched, epochs: int) -> tuple[float, float, dict[str, Any]]:
    """The plain script with a search's trials: wall seconds, CPU seconds, and what it printed."""
    asked = folder / "trials.json"
    asked.write_text(json.dumps({"epochs": epochs, "trials": searched.trials()}))
    script = Path(__file__).with_name("plain.py")
    seconds, cpu, printed = timed([sys.executable, str(script), str(asked)], folder)
    return seconds, cpu, json.loads(printed.splitlines()[-1])


def forget(searched: Searched) -> None:
    """Remove a search's home."""
    shutil.rmtree(searched.home)
