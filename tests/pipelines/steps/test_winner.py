"""Only the winner of a search is exported, proved and explained, and as if it had been trained alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tidegate.infra.store import Ref
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.executors.inline import InlineExecutor
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.home import Home, StepRecord

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
DOCUMENT: dict[str, Any] = {
    "name": "n",
    "data": {"dataset": "wine"},
    "model": {"family": "mlp", "hidden": [4]},
    "training": {"epochs": 2, "explain": 4},
    "gate": {"metric": "test_accuracy", "minimum": 0.0},
}
SEARCH = {"method": "grid", "space": {"training.optimizer.learning_rate": {"choices": [0.1, 0.0001]}}}


class Ears:
    """Hears of nothing but failures."""

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        assert record.status != "failed", outputs

    def on_retry(self, step_id: str, signal: int) -> None: ...

    def on_notice(self, step_id: str, text: str) -> None: ...

    def on_poll(self) -> None: ...


def walked(home: Home, **changes: Any) -> dict[str, dict[str, Any]]:
    """The outputs of the steps up to `select`, by id."""
    experiment = validate({**DOCUMENT, **changes}, "here")
    plan = make_plan(experiment, gather(experiment, home))
    steps = tuple(step for step in plan.steps if step.step in ("prepare", "train", "select"))
    folder = home.folder_of(plan.run)
    folder.create()
    part = Plan(plan.run, experiment, plan.facts, steps)
    return run_plan(part, InlineExecutor(), home.store, folder, Ears())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def searched(home: Home) -> dict[str, dict[str, Any]]:
    return walked(home, search=SEARCH)


def fetched(home: Home, ref: Mapping[str, Any]) -> Path:
    return home.store.fetch(Ref.model_validate(ref))


def test_the_winner_is_what_it_would_be_alone(home: Home, searched: dict[str, dict[str, Any]]) -> None:
    (winner,) = [outputs["winner"] for step, outputs in searched.items() if step.startswith("select")]
    assert winner["params"] == {"training.optimizer.learning_rate": 0.1}
    assert winner["exported"] is True
    training = {**DOCUMENT["training"], "optimizer": {"name": "adam", "learning_rate": 0.1}}
    (alone,) = [
        outputs for step, outputs in walked(home, training=training).items() if step.startswith("train")
    ]
    for name in ("metrics", "undefined", "curve", "activation", "export_error", "proof"):
        assert winner[name] == alone[name], name
    for name in ("reference", "probes", "report"):
        assert winner[name]["digest"] == alone[name]["digest"], name
    graphs = [onnx.load(str(fetched(home, one["onnx"]))).graph for one in (winner, alone)]
    # Names count the models that were built before in the process.
    for parts in zip(*(graph.node for graph in graphs), strict=True):
        assert parts[0].op_type == parts[1].op_type
        assert parts[0].attribute == parts[1].attribute
    for parts in zip(*(graph.initializer for graph in graphs), strict=True):
        assert parts[0].raw_data == parts[1].raw_data
        assert parts[0].dims == parts[1].dims
    assert [[end.name for end in graph.input] for graph in graphs] == [["features"]] * 2


def test_the_other_trials_have_what_ranks_them(home: Home, searched: dict[str, dict[str, Any]]) -> None:
    trials = [outputs for step, outputs in searched.items() if step.startswith("train")]
    for trial in trials:
        assert (trial["onnx"], trial["probes"], trial["export_error"], trial["exported"]) == (
            None,
            None,
            "",
            False,
        )
        with np.load(fetched(home, trial["report"]), allow_pickle=False) as report:
            facts = json.loads(str(report["facts"]))
        assert len(facts["history"]) == 2
        assert "explained" not in facts
        events = [json.loads(line) for line in fetched(home, trial["events"]).read_text().splitlines()]
        kinds = {event["kind"] for event in events}
        assert {"params", "metrics", "dataset", "model", "end"} <= kinds
        assert "figures" not in kinds


def test_what_the_gate_refuses_is_not_exported(home: Home) -> None:
    outputs = walked(home, search=SEARCH, gate={"metric": "test_accuracy", "minimum": 0.99999})
    (selected,) = [one for step, one in outputs.items() if step.startswith("select")]
    assert len(selected["refused"]) == 1
    assert selected["winner"]["exported"] is False
    assert selected["winner"]["onnx"] is None
