"""What a trial is given depends on a fixed number of earlier trials, and on nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.pipelines.planning.test_plan import FACTS, experiment, searched
from tidegate.pipelines.experiment.search import Pruning
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.suggestions import Suggestions
from tidegate.pipelines.step_types.train import TrainInputs

RATE, NAME, MOMENTUM = (f"training.optimizer.{key}" for key in ("learning_rate", "name", "momentum"))
SPACE = {
    RATE: {"low": 0.001, "high": 1.0, "log": True},
    NAME: ["sgd", "adam"],
    MOMENTUM: {"low": 0.0, "high": 0.9, "when": {NAME: "sgd"}},
}
ASHA = {"rule": "asha", "min_epochs": 1, "reduction_factor": 2}


def trained(inputs: TrainInputs) -> dict[str, Any]:
    """A training without one: its loss falls the faster the nearer the rate is to 0.1; it obeys its limits."""
    distance = abs(math.log10(inputs.params[RATE]) + 1) + inputs.params.get(MOMENTUM, 0.4)
    curve: list[float] = []
    for epoch in range(inputs.training["epochs"]):
        curve.append(distance + 1 / (epoch + 1 + distance))
        limit = inputs.limits[epoch] if inputs.limits and epoch < len(inputs.limits) else None
        if limit is not None and min(curve) > limit:
            break
    pruned = len(curve) < inputs.training["epochs"]
    return {
        "params": inputs.params,
        "monitor": "val_loss",
        "value": min(curve),
        "curve": curve,
        "pruned": pruned,
    }


def run(plan: Plan, parallelism: int, choose: Any, resume_every: int = 0) -> dict[str, dict[str, Any]]:
    """Run the trials at most so many at a time; `choose` says which of those that run ends next."""
    waiting, outputs = list(plan.of("train")), dict[str, dict[str, Any]]()
    running: dict[str, dict[str, Any]] = {}
    suggestions = Suggestions(step.id for step in plan.of("train"))
    trials = {step.id for step in waiting}
    while waiting or running:
        for step in list(waiting):
            if len(running) < parallelism and all(one in outputs for one in step.after if one in trials):
                waiting.remove(step)
                assert isinstance(step.inputs, TrainInputs)
                running[step.id] = trained(suggestions.into(step.inputs, outputs))
        ended = choose(sorted(running))
        outputs[ended] = running.pop(ended)
        if (
            resume_every and len(outputs) % resume_every == 0
        ):  # another driver goes on from what the store has
            suggestions = Suggestions(step.id for step in plan.of("train"))
    return outputs


def plan_of(trials: int, method: str, parallelism: int, pruning: Any) -> Plan:
    search = {
        "method": method,
        "parallelism": parallelism,
        "space": SPACE,
        "pruning": pruning,
        "trials": trials,
    }
    return make_plan(experiment(search=search, training={"epochs": 9}), replace(FACTS, trials=trials))


@settings(max_examples=25, deadline=None)
@given(
    some.sampled_from(["tpe", "random"]),
    some.integers(1, 4),
    some.sampled_from([ASHA, {"minimum_trials": 2, "warmup_epochs": 1}, None]),
    some.integers(0, 3),
    some.data(),
)
def test_who_ends_first_changes_nothing(
    method: str, parallelism: int, pruning: Any, resume_every: int, data: some.DataObject
) -> None:
    plan = plan_of(10, method, parallelism, pruning)
    first = run(plan, parallelism, lambda ids: ids[0])
    other = run(plan, parallelism, lambda ids: data.draw(some.sampled_from(ids)), resume_every)
    assert other == first


def test_successive_halving_stops_most_trials_early_and_keeps_the_best() -> None:
    whole = run(plan_of(24, "random", 2, None), 2, max)
    halved = run(plan_of(24, "random", 2, ASHA), 2, max)
    epochs = [len(outputs["curve"]) for outputs in halved.values()]
    assert sum(epochs) < 0.5 * sum(len(outputs["curve"]) for outputs in whole.values())
    assert {outputs["pruned"] for outputs in halved.values()} == {True, False}
    assert set(epochs) <= {1, 2, 4, 8, 9}
    assert min(outputs["value"] for outputs in halved.values()) == min(
        outputs["value"] for outputs in whole.values()
    )


def test_a_trial_that_failed_teaches_nothing() -> None:
    plan = plan_of(4, "tpe", 1, ASHA)
    trials = plan.of("train")
    outputs = run(plan, 1, max)
    del outputs[trials[0].id]
    assert isinstance(trials[3].inputs, TrainInputs)
    given = Suggestions(step.id for step in trials).into(trials[3].inputs, outputs)
    assert given.limits and given.limits[0] == min(outputs[trials[place].id]["curve"][0] for place in (1, 2))


def test_more_trials_later_keep_the_old_ones() -> None:
    few, many = (run(plan_of(trials, "tpe", 2, ASHA), 2, max) for trials in (5, 8))
    assert list(few.values()) == [many[trial] for trial in few]


def test_a_run_without_a_search_is_given_nothing() -> None:
    (step,) = make_plan(experiment(), FACTS).of("train")
    assert isinstance(step.inputs, TrainInputs)
    assert Suggestions([step.id]).into(step.inputs, {}) is step.inputs


def test_what_a_trial_does_not_have_it_does_not_state() -> None:
    """Options of a model of the user's that contradict stated ones are refused: only the trial's own count."""
    space = {
        "training.batch_size": [8, 16],
        "training.regularization": {"choices": [None], "when": {"training.batch_size": 8}},
    }
    search = {"method": "grid", "space": space, "pruning": None}
    changed = experiment(model={"file": "m.py"}, search=search, training={"epochs": 2})
    plan = make_plan(changed, replace(FACTS, trials=2))
    suggestions, stated = Suggestions(step.id for step in plan.of("train")), []
    for step in plan.of("train"):
        assert isinstance(step.inputs, TrainInputs)
        stated.append(suggestions.into(step.inputs, {}).stated)
    assert stated == [("batch_size", "epochs", "regularization"), ("batch_size", "epochs")]
    assert searched(1).of("train")[0].inputs.model_dump()["stated"] == ()


def test_where_a_trial_was_stopped() -> None:
    assert Pruning().place(9, 5) == "epoch 5"
    asha = Pruning(rule="asha", min_epochs=2, reduction_factor=3)
    assert [asha.place(20, done) for done in (2, 6, 18)] == [
        "rung 1 of 3, epoch 2",
        "rung 2 of 3, epoch 6",
        "rung 3 of 3, epoch 18",
    ]
