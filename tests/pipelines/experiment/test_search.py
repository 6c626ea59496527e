"""A search as the experiment file states it: its rule, and the values that are checked before the first trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.tuning.space import space_of
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.search_space import combinations
from tidegate.pipelines.state.home import Home

GOOD: dict[str, Any] = {"name": "a", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}
OPTIMIZER, MOMENTUM = "training.optimizer", "training.optimizer.momentum"


def searching(space: dict[str, Any], **search: Any) -> dict[str, Any]:
    return GOOD | {"search": {"trials": 1, "space": space} | search}


def conditional(when: Any) -> dict[str, Any]:
    """A momentum that is searched for some optimizers only; it stands before what it depends on."""
    return {MOMENTUM: {"low": 0.0, "high": 0.9, "when": when}, OPTIMIZER: ["sgd", "adam"]}


def test_each_choice_is_checked_where_its_condition_holds(tmp_path: Path) -> None:
    """A momentum beside Adam would be refused; where it is searched for SGD only, nothing is."""
    check(validate(searching(conditional({OPTIMIZER: "sgd"})), "here"), Home(tmp_path))
    space = space_of(conditional({OPTIMIZER: "sgd"}))
    assert list(combinations(space, MOMENTUM)) == [
        {OPTIMIZER: "sgd", MOMENTUM: momentum} for momentum in space[MOMENTUM].checked
    ]
    assert list(combinations(space, OPTIMIZER)) == [{OPTIMIZER: "sgd"}, {OPTIMIZER: "adam"}]


def test_conditions_of_conditions_are_checked_together() -> None:
    space: dict[str, Any] = {
        "model.c": {"choices": [1], "when": {"model.b": [2, 3]}},
        "model.b": {"low": 1, "high": 3, "step": 1, "when": {"model.a": "x"}},
        "model.a": ["x", "y"],
        "model.d": [0],
    }
    found = list(combinations(space_of(space), "model.c"))
    assert found == [{"model.a": "x", "model.b": number, "model.c": 1} for number in (2, 3)]


def test_a_key_within_a_choice_is_lost_only_where_it_is_searched_there(tmp_path: Path) -> None:
    key, patience = "training.early_stopping", "training.early_stopping.patience"
    space: dict[str, Any] = {key: [None, {"min_delta": 0.1}], patience: [3]}
    with pytest.raises(ExperimentError, match="is searched within the choice None of training"):
        check(validate(searching(space), "here"), Home(tmp_path))
    space[patience] = {"choices": [3], "when": {key: {"min_delta": 0.1}}}
    check(validate(searching(space), "here"), Home(tmp_path))


@pytest.mark.parametrize(
    ("space", "search", "words"),
    [
        (conditional({OPTIMIZER: ["sgd", "adam"]}), {}, "optimizer 'adam' has no option 'momentum'"),
        (conditional({OPTIMIZER: "sdg"}), {}, f"{OPTIMIZER} is 'sdg', and is never that"),
        (conditional({f"{OPTIMIZER}.name": "sgd"}), {}, "is no other searched value"),
        ({"training.epochs": {"low": 1, "high": 9, "num": 3}}, {}, "num: 3, the points of a grid"),
        (
            {"model.dropout": {"low": 0.0, "high": 0.5, "step": 0.2}},
            {},
            "expected a high such as 0.4 or 0.6; change it, or the step",
        ),
        (
            conditional({OPTIMIZER: "sgd"}) | {MOMENTUM: {"choices": [0.5, 0.9], "when": {OPTIMIZER: "sgd"}}},
            {"method": "grid", "trials": 4},
            "search.trials: 4, and the grid has 3",
        ),
    ],
)
def test_a_wrong_space_is_told_before_the_first_trial(
    space: dict[str, Any], search: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises((OptionsError, ExperimentError)) as raised:
        check(validate(searching(space, **search), "here"), Home(tmp_path))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("pruning", "words"),
    [
        (
            {"rule": "asha", "warmup_epochs": 1, "minimum_trials": 2},
            "search.pruning: warmup_epochs, minimum_trials is for the rule median, and rule is asha; expected "
            "min_epochs and reduction_factor; leave it out, or set rule: median",
        ),
        ({"min_epochs": 2}, "min_epochs is for the rule asha, and rule is median"),
        ({"rule": "hyperband"}, "search.pruning.rule: received str 'hyperband'; expected 'median' or 'asha'"),
        (
            {"rule": "asha", "reduction_factor": 1},
            "search.pruning.reduction_factor: received int 1; expected a number of at least 2",
        ),
        ({"rule": "asha", "eta": 3}, "search.pruning.eta: unknown key"),
    ],
)
def test_what_a_rule_does_not_use_is_refused(pruning: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError) as raised:
        validate(searching({"model.dropout": [0.1]}, pruning=pruning), "here")
    assert words in str(raised.value)


def test_a_rule_stays_as_it_is_stated() -> None:
    """Checked again, as a part of the whole experiment, it must not seem to have keys of the other rule."""
    for pruning in (None, {}, {"warmup_epochs": 1}, {"rule": "asha", "min_epochs": 2}):
        found = validate(searching({"model.dropout": [0.1]}, pruning=pruning), "here")
        assert validate(found.model_dump(mode="json"), "here") == found


def test_asha_without_a_rung_is_refused() -> None:
    search = {"trials": 8, "space": {"model.units": [1, 2]}, "pruning": {"rule": "asha", "min_epochs": 5}}
    document = {
        "name": "one",
        "data": {"dataset": "digits"},
        "model": {"family": "mlp"},
        "training": {"epochs": 5},
        "search": search,
    }
    with pytest.raises(ExperimentError, match="min_epochs is 5 and"):
        validate(document, "here")
    validate({**document, "training": {"epochs": 6}}, "here")
    validate({**document, "search": {**search, "space": {"training.epochs": [4, 9]}}}, "here")
