"""A search with successive halving and a value that only some trials have: what its answer, MLflow and compare say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tidegate.infra.mlflow.spool import events
from tidegate.pipelines.state.home import Home

NAME, MOMENTUM, RATE = (f"training.optimizer.{key}" for key in ("name", "momentum", "learning_rate"))
EXPERIMENT: dict[str, Any] = {
    "name": "halved",
    "data": {"dataset": "wine"},
    "model": {"family": "mlp", "hidden": [8]},
    "training": {"epochs": 5, "batch_size": 64},
    "search": {
        "method": "grid",
        "parallelism": 3,
        "pruning": {"rule": "asha", "min_epochs": 2, "reduction_factor": 2},
        "space": {
            RATE: [0.05, 0.00001],
            NAME: ["sgd", "adam"],
            MOMENTUM: {"choices": [0.5, 0.9], "when": {NAME: "sgd"}},
        },
    },
    "gate": {"metric": "test_accuracy", "minimum": 0.999999, "maximum": 0.9999999},
}


@pytest.fixture(scope="module")
def halved(shared: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("halved") / "experiment.yaml"
    file.write_text(json.dumps(EXPERIMENT))
    answer = shared("submit", str(file), "--json")
    assert answer.code == 3, answer.stderr  # refused: nobody needs the endpoint
    assert "pruned at rung 1 of 2, epoch 2" in answer.stderr
    return dict(answer.json)


def spool(cli: Cli, run: str, trial: str) -> dict[str, Any]:
    """A trial's tags and parameters, as MLflow gets them."""
    known = events(Home(cli.home).spool / run, trial)
    tags = {key: value for event in known for key, value in event.get("tags", {}).items()}
    tags |= {k: v for event in known if event["kind"] == "tags" for k, v in event["values"].items()}
    params = next(event["values"] for event in known if event["kind"] == "params")
    return {"tags": tags, "params": params}


def test_a_trial_has_only_the_values_whose_conditions_hold(shared: Cli, halved: dict[str, Any]) -> None:
    assert [trial["params"] for trial in halved["trials"]] == [
        {RATE: rate, NAME: "sgd", MOMENTUM: momentum} if momentum else {RATE: rate, NAME: "adam"}
        for rate in (0.05, 0.00001)
        for momentum in (0.5, 0.9, None)
    ]
    for trial in halved["trials"]:
        logged = spool(shared, halved["run"], trial["id"])
        without = [] if MOMENTUM in trial["params"] else [MOMENTUM]
        assert logged["tags"].get("tidegate.without", "") == ", ".join(without)
        assert logged["params"].get(MOMENTUM) == trial["params"].get(MOMENTUM)


def test_it_says_at_which_rung_a_trial_was_stopped(shared: Cli, halved: dict[str, Any]) -> None:
    """The first three know of no other; of the rest only what is among the better half at the second epoch goes on."""
    places = [trial["pruned_at"] for trial in halved["trials"]]
    assert places[:3] == ["", "", ""] and set(places[4:]) == {"rung 1 of 2, epoch 2"}
    for trial in halved["trials"]:
        assert trial["pruned"] is bool(trial["pruned_at"])
        tags = spool(shared, halved["run"], trial["id"])["tags"]
        assert tags.get("tidegate.pruned_at", "") == trial["pruned_at"]
        assert tags["tidegate.pruned"] is trial["pruned"]


def test_compare_shows_where_a_value_is_not_there(shared: Cli, halved: dict[str, Any]) -> None:
    lines = shared("compare", halved["run"]).stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.startswith("train-")}
    for trial in halved["trials"]:
        assert rows[trial["id"]][3] == str(trial["params"].get(MOMENTUM, "-"))
        assert ("rung" in rows[trial["id"]]) is trial["pruned"]


def test_the_same_again_is_found_and_not_done(shared: Cli, halved: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(json.dumps(EXPERIMENT))
    answer = shared("submit", str(tmp_path / "experiment.yaml"), "--json").json
    assert {trial["status"] for trial in answer["trials"]} <= {"done", "cached"}
    kept = ("params", "metrics", "pruned", "pruned_at")
    assert [[trial[key] for key in kept] for trial in answer["trials"]] == [
        [trial[key] for key in kept] for trial in halved["trials"]
    ]
