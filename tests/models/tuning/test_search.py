"""Suggestions are inside their space, repeat, and do not depend on what is planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.tuning.grid import grid_size
from tidegate.models.tuning.search import Suggester, suggest
from tidegate.models.tuning.space import space_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "suggestions.json").read_text())
SPACE = {
    "training.optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "model.hidden": [[32], [64, 32]],
    "training.batch_size": {"low": 16, "high": 64, "step": 16},
}


def walk(search: dict[str, Any], trials: int) -> list[dict[str, Any]]:
    """Ask for trials one after the other; the score is best at a learning rate of 0.01 with the wider net."""
    history: list[dict[str, Any]] = []
    for index in range(trials):
        params = suggest(search, index, history)
        score = -abs(params["training.optimizer.learning_rate"] - 0.01) - (params["model.hidden"] == [32])
        history.append({"params": params, "value": None if index == 2 else score})
    return [past["params"] for past in history]


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_suggestions_are_in_the_space_and_repeat(method: str) -> None:
    search = {"method": method, "space": SPACE, "seed": 3}
    first = walk(search, 9)
    for params in first:
        assert 0.001 <= params["training.optimizer.learning_rate"] <= 0.1
        assert params["model.hidden"] in SPACE["model.hidden"]
        assert params["training.batch_size"] in (16, 32, 48, 64)
    assert walk({**search, "trials": 99}, 9) == first
    assert walk({**search, "seed": 4}, 9) != first


def test_tpe_learns_what_is_better() -> None:
    late = walk({"method": "tpe", "space": SPACE}, 25)[15:]
    assert sum(params["model.hidden"] == [64, 32] for params in late) >= 7


def test_tpe_leaves_out_trials_of_another_space() -> None:
    old = [{"params": {"model.hidden": [999]}, "value": 1.0}, {"params": {}, "value": 2.0}]
    search = {"method": "tpe", "space": SPACE}
    assert suggest(search, 6, old) == suggest(search, 6, [])


def test_a_grid_has_every_point_once() -> None:
    space = {
        "a": {"low": 1, "high": 9, "num": 3},
        "b": ["x", "y"],
        "c": {"low": 0.01, "high": 1, "log": True, "num": 3},
    }
    assert grid_size(space_of(space)) == 18
    points = [suggest({"method": "grid", "space": space}, index, []) for index in range(18)]
    assert points[0] == {"a": 1, "b": "x", "c": pytest.approx(0.01)}
    assert {point["a"] for point in points} == {1, 5, 9} and all(type(point["a"]) is int for point in points)
    assert len({tuple(point.values()) for point in points}) == 18
    assert grid_size(space_of({"a": {"low": 0, "high": 1, "step": 0.1}})) == 11


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (
            {"method": "gird", "space": SPACE},
            "'gird'; expected one of: grid, random, tpe; did you mean 'grid'",
        ),
        (
            {"method": "grid", "space": SPACE},
            "search.space.training.optimizer.learning_rate is a range from 0.001 to 0.1; expected its points",
        ),
        ({"method": "grid", "space": {"a": [1, 2]}}, "trial 6 was asked for and the grid has 2"),
        ({"space": {}}, "search.space is empty"),
        ({"space": {"a": 3}}, "'search.space.a' is 3; expected {low, high}"),
        ({"space": {"a": []}}, "'search.space.a.choices' is ()"),
        (
            {"space": {"a": {"low": 1, "hihg": 2}}},
            "unknown option 'search.space.a.hihg'; expected one of: high, log, low, num, step, when; "
            "did you mean 'high'",
        ),
        ({"space": {"a": {"low": 2, "high": 1}}}, "low 2 is above high 1"),
        (
            {"space": {"a": {"low": 0, "high": 1, "log": True}}},
            "low is 0 with log; expected a number above 0",
        ),
        ({"space": {"a": {"low": 1, "high": 9, "log": True, "step": 2}}}, "log and step are both given"),
    ],
)
def test_a_wrong_search_is_told(search: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError) as caught:
        suggest(search, 5, [])
    assert said in str(caught.value)


@pytest.mark.parametrize("name", GOLDEN)
def test_suggestions_are_those_of_earlier_versions(name: str) -> None:
    """To the bit: of `digits-search`, of every kind of value, and of a grid, as version 0.1 suggested them."""
    known = GOLDEN[name]
    kept: dict[str, Suggester] = {}
    for index, trial in enumerate(known["trials"]):
        seen = known["trials"][: max(0, index - known["parallelism"] + 1)]
        direction = known["direction"] if seen else "minimize"
        search = {**known["search"], "direction": direction}
        params = kept.setdefault(direction, Suggester(search)).suggest(index, seen)
        assert list(params.items()) == list(trial["params"].items())
        assert suggest(search, index, seen) == params
