"""A killed or cancelled trial goes on from its last checkpoint, through the whole pipeline; on JAX and PyTorch too."""

import json
from typing import Any

import psutil
import pytest

from ..conftest import Cli
from .conftest import known_runs, new_run, wait, wait_for, workers

GATE = "gate={metric: test_accuracy, minimum: 0.5, improve_on_champion: null}"
LONG = ["--set", "training.epochs=200", "--set", GATE]
OFTEN = ["--set", "training.checkpoint.every=100ms"]


def checkpoints(cli: Cli) -> list[Any]:
    """The documents that name checkpoints."""
    return [json.loads(path.read_bytes()) for path in (cli.home / "store/docs/checkpoints").glob("*.json")]


@pytest.fixture(scope="module")
def undisturbed(house: Cli) -> dict[str, Any]:
    """The same training without a checkpoint and without a kill."""
    answer: dict[str, Any] = house.ok("submit", "digits", *LONG, "--set", "training.checkpoint=null")
    assert [trial["resumed"] for trial in answer["trials"]] == [""]
    return answer


def test_a_killed_trial_goes_on(house: Cli, undisturbed: dict[str, Any]) -> None:
    submit = house.start("submit", "digits", *LONG, *OFTEN, "--json")
    wait_for("two checkpoints", lambda: any(len(refs) == 2 for refs in checkpoints(house)))
    psutil.Process(workers(house)[0].pid).kill()
    ended = wait(submit)
    assert ended.code == 0, ended.stderr
    assert "resumed from epoch " in ended.stderr
    assert ended.json["trials"][0]["resumed"].startswith("epoch ")
    assert ended.json["metrics"] == undisturbed["metrics"]
    assert checkpoints(house) == []


def test_a_cancelled_run_goes_on(house: Cli, undisturbed: dict[str, Any]) -> None:
    """No checkpoint is due for 10 minutes: what the trial goes on from was kept when it was told to end."""
    before = known_runs(house)
    slow = ["--set", "training.checkpoint.every=10m", "--set", "description=cancelled", "--detach"]
    house.ok("submit", "digits", *LONG, *slow)
    run = new_run(house, before)
    log = house.home / "runs" / run / "logs"
    wait_for("an epoch", lambda: any("epoch 3/" in path.read_text() for path in log.glob("train-*")))
    assert house.ok("cancel", run)["status"] == "cancelled"
    assert len(checkpoints(house)) == 1
    resumed = house.ok("resume", run)
    assert resumed["trials"][0]["resumed"].startswith("epoch ")
    assert resumed["metrics"] == undisturbed["metrics"]
    assert checkpoints(house) == []


@pytest.mark.slow
def test_a_trial_killed_in_a_fold_goes_on_with_it(house: Cli) -> None:
    folds = ["--set", "data.split.folds=3", "--set", "training.epochs=150", "--set", GATE]
    expected = house.ok("submit", "digits", *folds, "--set", "training.checkpoint=null")["metrics"]
    submit = house.start("submit", "digits", *folds, *OFTEN, "--json")
    kept = house.home / "store/docs/checkpoints"
    wait_for("a checkpoint of the second fold", lambda: list(kept.glob("*-fold-1.json")))
    psutil.Process(workers(house)[0].pid).kill()
    ended = wait(submit)
    assert ended.code == 0, ended.stderr
    assert ended.json["metrics"] == expected and "folds_accuracy_mean" in expected
    assert checkpoints(house) == []


def test_gc_takes_what_nobody_goes_on_with(house: Cli) -> None:
    document = house.home / "store/docs/checkpoints" / f"{'0' * 64}.json"
    document.write_text("[]")
    assert f"checkpoints/{'0' * 64}.json" in house.ok("gc")["removed"]
    assert not document.exists()


@pytest.mark.parametrize(
    "backend",
    [pytest.param("jax", marks=pytest.mark.slow), pytest.param("torch", marks=pytest.mark.torch)],
)
def test_a_run_on_another_backend_ends_at_a_live_endpoint(house: Cli, backend: str) -> None:
    """Convolutions, BatchNormalization, Dropout, images that change; killed once on the way."""
    asked = (
        f"training.backend={backend}",
        f"name=digits-{backend}",
        "model={family: cnn, filters: [8, 16], dense: [32], batch_norm: true}",
        "training.augmentation={shift: 0.05, noise: 0.05}",
        "training.learning_rate_schedule={name: reduce_on_plateau}",
        "training.epochs=12",
        GATE,
    )
    submit = house.start(
        "submit", "digits", *(word for one in asked for word in ("--set", one)), *OFTEN, "--json"
    )
    wait_for("two checkpoints", lambda: any(len(refs) == 2 for refs in checkpoints(house)))
    psutil.Process(workers(house)[0].pid).kill()
    ended = wait(submit)
    assert ended.code == 0, ended.stderr
    answer = ended.json
    assert answer["trials"][0]["resumed"].startswith("epoch ")
    assert (answer["status"], answer["runtime"]) == ("done", "onnx")
    assert answer["metrics"]["test_accuracy"] > 0.8 and answer["parity"] < 1e-5
