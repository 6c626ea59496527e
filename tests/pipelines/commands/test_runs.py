"""runs and compare: filters that are read or refused, and a search whose trials are told apart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.commands.runs.compare import compare
from tidegate.pipelines.commands.runs.listing import runs
from tidegate.pipelines.commands.runs.summary import run_result
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.state.home import Home, RunRecord

RATE = "training.optimizer.learning_rate"


def recorded(home: Home, run: str, age_s: float, status: str, metrics: dict[str, float]) -> None:
    step = {"id": f"select-{run}", "step": "select", "status": "done", "key": run}
    record = {
        "run": run,
        "name": "wine",
        "endpoint": "wine",
        "status": status,
        "steps": [step] if metrics else [],
    }
    folder = home.folder_of(run)
    folder.create()
    folder.write(RunRecord.model_validate(record | {"created": time.time() - age_s, "experiment": {}}))
    outputs = {"trial": "train-0", "metric": "test_auc", "metrics": metrics, "ranking": ["train-0"]}
    home.store.write(f"steps/{run}.json", json.dumps({"outputs": outputs}).encode(), None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    recorded(home, "old", 9 * 86400, "done", {"test_loss": 0.4, "test_auc": 0.7})
    recorded(home, "new", 60, "done", {"test_loss": 0.3, "test_auc": 0.9})
    recorded(home, "bad", 30, "refused", {"test_loss": 0.2, "test_auc": 0.5})
    recorded(home, "dead", 10, "failed", {})
    return home


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["dead", "bad", "new", "old"]),
        ({"status": ["done"]}, ["new", "old"]),
        ({"status": ["failed,refused"]}, ["dead", "bad"]),
        ({"status": ["failed", "done"], "since": "1h"}, ["dead", "new"]),
        ({"since": "7d"}, ["dead", "bad", "new"]),
        ({"since": "2020-01-01"}, ["dead", "bad", "new", "old"]),
        ({"since": "2999-01-01T10:00"}, []),
        ({"metric": ["test_auc>0.8"]}, ["new"]),
        ({"metric": ["test_auc >= 0.5", "test_loss<=4e-1"]}, ["bad", "new", "old"]),
        ({"metric": ["test_auc!=0.9"]}, ["bad", "old"]),
        ({"metric": ["test_auc=0.9"]}, ["new"]),
        ({"metric": ["test_AUC>0.8", "Test_roc_auc<1"]}, ["new"]),
    ],
)
def test_filters(home: Home, filters: dict[str, Any], expected: list[str]) -> None:
    assert [row["run"] for row in runs(home, **filters).data] == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"status": ["finished"]}, '--status is "finished"; expected one of: queued'),
        ({"status": ["don"]}, 'did you mean "done"'),
        ({"since": "yesterday"}, '--since is "yesterday"; expected an age such as 7d'),
        ({"since": "7"}, '--since is "7"'),
        ({"metric": ["test_auc"]}, '--metric is "test_auc"; expected a metric, one of > >= < <= == !='),
        ({"metric": ["test_auc>high"]}, '--metric is "test_auc>high"'),
        ({"metric": ["test_acu>0.5"]}, 'no run has a metric "test_acu"; did you mean "test_auc"'),
        ({"metric": ["ROC_AUC>0.5"]}, 'no run has a metric "ROC_AUC"; did you mean "test_auc"'),
        (
            {"metric": ["test_pr_auc>0.5"]},
            'no run has a metric "test_pr_auc"; expected one of: test_auc, test_loss',
        ),
    ],
)
def test_filters_that_cannot_be_read(home: Home, filters: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        runs(home, **filters)
    assert message in str(raised.value)


def test_the_gates_metric_is_shown_first(home: Home) -> None:
    assert "test_auc 0.9000  test_loss 0.3000" in runs(home).text
    assert runs(home, status=["failed"]).data[0]["metric"] is None


def searched(home: Home) -> None:
    """A search of three trials: the second wins, the third failed."""
    steps = [{"id": f"train-{index}-x", "step": "train", "key": f"t{index}"} for index in range(3)]
    states = ("done", "done", "failed")
    known = [step | {"status": status} for step, status in zip(steps, states, strict=True)]
    known.append({"id": "select-x", "step": "select", "status": "done", "key": "s"})
    folder = home.folder_of("wine-1")
    folder.create()
    record = {"run": "wine-1", "name": "wine", "endpoint": "wine", "status": "done", "created": 1.0}
    folder.write(RunRecord.model_validate(record | {"steps": known, "experiment": {}}))
    for index, auc in enumerate((0.7, 0.9)):
        params = {RATE: 0.1 / (index + 1), **({"training.optimizer.momentum": None} if index else {})}
        outputs = {"params": params, "metrics": {"test_auc": auc}, "pruned": index == 0}
        outputs |= {"pruned_at": "rung 1 of 2, epoch 3"} if index == 0 else {}
        home.store.write(f"steps/t{index}.json", json.dumps({"outputs": outputs}).encode(), None)
    chosen = {"trial": "train-1-x", "metric": "test_auc", "metrics": {"test_auc": 0.9}}
    chosen |= {"ranking": ["train-1-x", "train-0-x"]}
    home.store.write("steps/s.json", json.dumps({"outputs": chosen}).encode(), None)


def test_a_search_names_its_winner_and_compares_its_trials(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    searched(home)
    summary = run_result(home, home.run_folder("wine-1"))
    assert summary.data["winner"]["id"] == "train-1-x"
    assert (summary.data["winner"]["params"], summary.data["winner"]["value"]) == (
        {RATE: 0.05, "training.optimizer.momentum": None},
        0.9,
    )
    assert "winner    train-1-x of 3  learning_rate 0.05  momentum null" in summary.text
    compared = compare(home, ["wine"])
    assert [(row["run"], row["rank"]) for row in compared.data["runs"]] == [
        ("train-1-x", 1),
        ("train-0-x", 2),
        ("train-2-x", None),
    ]
    lines = [line.split() for line in compared.text.splitlines()]
    assert lines[:4] == [
        ["trial", "learning_rate", "momentum", "test_auc"],
        ["train-1-x", "0.05", "null", "0.9", "winner"],
        ["train-0-x", "0.1", "-", "0.7", "pruned", "at", "rung", "1", "of", "2,", "epoch", "3"],
        ["train-2-x", "failed"],
    ]


def test_a_search_with_one_trial_shows_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    searched(home)
    folder = home.folder_of("wine-1")
    record = folder.read()
    one = [step for step in record.steps if step.id not in ("train-1-x", "train-2-x")]
    experiment = {"search": {"trials": 1}}
    folder.write(record.model_copy(update={"steps": one, "experiment": experiment, "status": "running"}))
    assert [row["run"] for row in compare(home, ["wine"]).data["runs"]] == ["train-0-x"]


def test_one_run_without_a_search_has_nothing_to_compare(home: Home) -> None:
    with pytest.raises(UsageError, match="one run, new, with 0 trials; expected several runs"):
        compare(home, ["new"])
