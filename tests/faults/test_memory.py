"""Data larger than memory: steps that may hold so much and no more, and a training that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from tidegate.pipelines.state.finished_steps import find_outputs
from tidegate.pipelines.state.home import Home

from ..conftest import Cli
from .cgroups import Group, limited, parent
from .conftest import wait, wait_for, workers

REPOSITORY = Path(__file__).parents[2]
GIB, MIB = 1 << 30, 1 << 20
ROOM = 32 * MIB
# Steps join the group before they begin; the driver and MLflow, which a container of a step has not, do not.
WRAPPER = """#!/bin/sh
case "$*" in *tidegate.pipelines.executors.worker*) echo $$ > {procs} ;; esac
exec {python} "$@"
"""
CODE = """import sys; sys.executable = sys.argv.pop(1)
from tidegate.pipelines.cli import main
sys.exit(main(sys.argv[1:]))"""
pytestmark = pytest.mark.skipif(parent() is None, reason="needs root and a control group for memory")


@dataclass(frozen=True)
class Capped(Cli):
    """`tidegate`, whose steps run in a control group."""

    wrapper: Path = Path()

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-c", CODE, str(self.wrapper), *args, "--home", str(self.home)]


def capped(folder: Path, group: Group) -> Capped:
    wrapper = folder / "python"
    wrapper.write_text(WRAPPER.format(procs=group.procs, python=sys.executable))
    wrapper.chmod(0o755)
    return Capped(folder / "home", wrapper=wrapper)


def images(folder: Path, size: int, files: int) -> None:
    """Noise with a faint picture of its class, sorted by class within each file: `size` bytes of 28 x 28 pixels."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    pictures = draw.integers(0, 40, (10, 28, 28)).astype(np.uint8)
    rows = size // files // 785
    noise = draw.integers(0, 200, (rows, 28, 28), dtype=np.uint8)
    for file in range(files):
        y = np.sort(draw.integers(0, 10, rows)).astype(np.uint8)
        np.savez(folder / f"part-{file:03d}.npz", image=np.roll(noise, file * 31, axis=0) + pictures[y], y=y)


def experiment(folder: Path, memory: str, epochs: int, **data: Any) -> Path:
    path = folder / "larger.yaml"
    document = {
        "name": "larger",
        "data": {"source": "./data/*.npz", "target": "y", "task": "classification", **data},
        "model": {"family": "mlp", "hidden": [32]},
        "training": {"epochs": epochs, "batch_size": 256, "checkpoint": {"every": "1s"}},
        "gate": {"metric": "test_accuracy", "minimum": 0.9},
        "resources": {"memory": memory},
    }
    path.write_text(yaml.safe_dump(document))
    return path


def trial(cli: Cli, run: str) -> tuple[dict[str, Any], str]:
    """What the train step left, and the document that says so."""
    home = Home(cli.home)
    step = next(step for step in home.run_folder(run).read().steps if step.step == "train")
    outputs = find_outputs(home.store, step.key)
    assert outputs is not None
    return outputs, f"steps/{step.key}.json"


def kill_in_the_middle(cli: Cli, least: float) -> None:
    """SIGKILL to the train step, once it is that far and has kept its state."""

    def far_enough() -> psutil.Process | None:
        told = [json.loads(path.read_bytes()) for path in cli.home.glob("runs/*/progress/*.json")]
        kept = list(cli.home.glob("store/docs/checkpoints/*.json"))
        if not kept or not any(least <= progress["share"] < 1 for progress in told):
            return None
        return next((one for one in workers(cli) if any("train" in word for word in one.cmdline())), None)

    process = wait_for("a training in its middle", far_enough, 3000)
    os.kill(process.pid, signal.SIGKILL)


def walk(folder: Path, size: int, files: int, epochs: int) -> None:
    """Prepare, train with a kill in the middle, and release in a container of 1 GiB; train again: the same bytes."""
    images(folder / "data", size, files)
    with limited(GIB) as group:
        cli = capped(folder, group)
        try:
            path = experiment(folder, "1Gi", epochs)
            submit = cli.start("submit", str(path), "--json")
            kill_in_the_middle(cli, 0.3)
            ran = wait(submit, 6000)
            assert ran.code == 0, ran.stderr[-3000:]
            answer = json.loads(ran.stdout)
            outputs, document = trial(cli, answer["run"])
            log = "".join(file.read_text() for file in cli.home.glob("runs/*/logs/train-*.log"))
            print(log, {step["step"]: step["seconds"] for step in answer["steps"]})
            print(
                f"most {group.most() / MIB:.0f} MiB with pages of files, killed for memory {group.killed()}"
            )
            assert outputs["resumed"].startswith("epoch ")
            assert "streamed: " in log
            assert answer["metrics"]["test_accuracy"] > 0.9
            assert group.killed() == 0
            assert answer["endpoint"]
            prepared = sum(file.stat().st_size for file in cli.home.glob("store/objects/*/*.npz"))
            assert prepared > 0.9 * size
            # The same training without a kill.
            Home(cli.home).store.delete(document)
            assert wait(cli.start("submit", str(path), "--json"), 6000).code == 0
            whole, _ = trial(cli, answer["run"])
            assert whole["resumed"] == ""
            assert whole["curve"] == outputs["curve"]
            assert whole["reference"] == outputs["reference"]
            assert weights(cli, whole) == weights(cli, outputs)
            assert group.killed() == 0
        finally:
            cli("down")


def weights(cli: Cli, outputs: dict[str, Any]) -> list[bytes]:
    import keras

    ref = outputs["keras"]
    path = next(cli.home.glob(f"store/objects/*/{ref['digest']}*"))
    return [np.asarray(weight).tobytes() for weight in keras.saving.load_model(path).get_weights()]


def test_ten_times_the_room_is_learned_from(tmp_path: Path) -> None:
    """The room is what a process that has trained on a little may hold more; all rows at once do not fit into it."""
    with limited(8 * GIB) as group:
        join = f"echo $$ > {group.procs}; exec {sys.executable} -m tests.faults.streaming {tmp_path} {10 * ROOM // MIB}"
        env = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        child = subprocess.Popen(
            ["sh", "-c", join],
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            little = json.loads(child.stdout.readline())
            group.limit(group.held() + ROOM)
            print("\n", file=child.stdin, end="", flush=True)
            found = json.loads(child.stdout.readline())
            assert found["windows"] > 50 > little["windows"]
            assert found["accuracy"] > 0.85  # over all of an epoch that began at 0.1
            assert group.killed() == 0
            print("\n", file=child.stdin, end="", flush=True)
            assert child.stdout.readline() == ""
            assert child.wait() == -signal.SIGKILL
            assert group.killed() == 1
        finally:
            child.kill()
            child.communicate()


@pytest.mark.slow
def test_ten_times_the_memory_is_learned_from_in_one_gibibyte(tmp_path: Path) -> None:
    walk(tmp_path, 10 * GIB, 40, 1)


@pytest.mark.slow
def test_a_streamed_training_is_killed_goes_on_and_is_released(tmp_path: Path) -> None:
    walk(tmp_path, 300 * MIB, 3, 4)
