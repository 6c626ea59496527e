"""Values that exist only where others have given values: by every method, and what cannot be."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tidegate.models.errors import OptionsError
from tidegate.models.tuning.grid import Grid, grid_size
from tidegate.models.tuning.search import Suggester, suggest
from tidegate.models.tuning.space import SearchSpace, space_of

NAME, MOMENTUM, NESTEROV = (f"training.optimizer.{key}" for key in ("name", "momentum", "nesterov"))
SPACE: dict[str, Any] = {
    NESTEROV: {"choices": [True, False], "when": {MOMENTUM: [0.5, 0.9]}},
    NAME: ["sgd", "adam", "rmsprop"],
    MOMENTUM: {"choices": [0.0, 0.5, 0.9], "when": {NAME: ["sgd", "rmsprop"]}},
    "model.layers": {"low": 1, "high": 3, "step": 1},
    "model.second": {"low": 8, "high": 64, "step": 8, "when": {"model.layers": [2, 3]}},
}


def is_whole(params: dict[str, Any]) -> bool:
    """Whether exactly the values exist that should."""
    expected = {NAME, "model.layers"}
    expected |= {MOMENTUM} if params[NAME] != "adam" else set()
    expected |= {NESTEROV} if params.get(MOMENTUM, 0.0) > 0 else set()
    expected |= {"model.second"} if params["model.layers"] > 1 else set()
    return params.keys() == expected


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_value_exists_only_where_its_condition_holds(method: str) -> None:
    search = {"method": method, "space": SPACE, "direction": "minimize"}
    history: list[dict[str, Any]] = []
    for index in range(30):
        params = suggest(search, index, history)
        assert is_whole(params)
        history.append({"params": params, "value": params.get(MOMENTUM, 2.0) + params["model.layers"]})
    assert {past["params"][NAME] for past in history} == {"sgd", "adam", "rmsprop"}
    late = [past["params"] for past in history[15:]]
    if method == "tpe":  # it learns within a branch: adam costs 2, a momentum of 0 nothing
        assert sum(params.get(MOMENTUM) == 0.0 for params in late) > len(late) / 2


def test_a_kept_study_suggests_what_a_new_one_does() -> None:
    search = {"method": "tpe", "space": SPACE, "seed": 5, "direction": "minimize"}
    kept, history = Suggester(search), []
    for index in range(20):
        seen = history[: max(0, index - 2)]
        params = kept.suggest(index, seen)
        assert params == suggest(search, index, seen)
        history.append({"params": params, "value": None if index == 4 else float(len(params))})
    assert kept.suggest(3, []) == history[3]["params"]  # a shorter history begins anew


def test_a_grid_has_each_combination_that_can_exist_once() -> None:
    listed = {key: entry for key, entry in SPACE.items() if key != "model.second"}
    grid = Grid(space_of(listed))
    points = [grid.at(index) for index in range(grid.size)]
    assert grid.size == (1 + 2 * (1 + 2 * 2)) * 3
    assert len({repr(sorted(point.items())) for point in points}) == grid.size
    for point in points:
        assert is_whole({**point, "model.layers": 1})
    with pytest.raises(OptionsError, match="trial 34 was asked for and the grid has 33"):
        grid.at(33)


@settings(max_examples=60, deadline=None)
@given(some.data())
def test_a_grid_is_what_filtering_the_product_leaves(data: some.DataObject) -> None:
    names = ["a", "b", "c", "d"][: data.draw(some.integers(1, 4))]
    space: dict[str, Any] = {}
    for place, name in enumerate(names):
        entry: dict[str, Any] = {"choices": list(range(data.draw(some.integers(1, 3))))}
        earlier = data.draw(some.lists(some.sampled_from(names[:place]), unique=True)) if place else []
        if when := {one: data.draw(some.sampled_from(space[one]["choices"])) for one in earlier}:
            entry["when"] = when
        space[name] = entry
    try:
        checked = space_of(space)
    except OptionsError as error:
        assert "can hold together" in str(error)
        return
    expected = {
        _present(checked, names, values) for values in product(*(space[one]["choices"] for one in names))
    }
    grid = Grid(checked)
    assert len(expected) == grid.size
    assert {tuple(grid.at(index).items()) for index in range(grid.size)} == expected


def _present(space: SearchSpace, names: list[str], values: tuple[int, ...]) -> tuple[Any, ...]:
    there: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        if space.exists(name, there):
            there[name] = value
    return tuple(there.items())


def test_a_large_grid_is_counted_and_not_listed() -> None:
    space = {f"model.x{index}": {"low": 1, "high": 100, "step": 1} for index in range(12)}
    space["model.y"] = {"choices": [1, 2], "when": {"model.x3": 7}}
    checked = space_of(space)
    assert grid_size(checked) == 100**11 * (99 + 2)
    assert Grid(checked).at(10**20)["model.x0"] == 1


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"a": [1, 2], "b": {"choices": [1], "when": {"c": 1}}},
            "search.space.b.when: 'c' is no other searched value",
        ),
        ({"lr": [1], "b": {"choices": [1], "when": {"lrr": 1}}}, "did you mean 'lr'?"),
        ({"a": {"choices": [1], "when": {"a": 1}}}, "'a' is no other searched value"),
        (
            {"a": {"choices": [1], "when": {"b": 1}}, "b": {"choices": [1], "when": {"a": 1}}},
            "the conditions go round in a circle: a -> b -> a",
        ),
        (
            {"a": ["x", "y"], "b": {"choices": [1], "when": {"a": "z"}}},
            "a is 'z', and is never that; expected one of its choices, 'x', 'y', or a list of them",
        ),
        ({"a": [1, 2], "b": {"choices": [1], "when": {"a": [2, 3]}}}, "a is 3, and is never that"),
        ({"a": [1, 2], "b": {"choices": [1], "when": {"a": True}}}, "a is True, and is never that"),
        ({"a": [1, 2], "b": {"choices": [1], "when": {"a": []}}}, "a is an empty list"),
        (
            {"a": {"low": 2, "high": 8, "step": 2}, "b": {"choices": [1], "when": {"a": 5}}},
            "a is 5, and is never that; expected a value from 2 to 8 in steps of 2",
        ),
        (
            {"a": {"low": 0.1, "high": 1}, "b": {"choices": [1], "when": {"a": 0.5}}},
            "a is a range from 0.1 to 1, which has no single values",
        ),
        (
            {
                "a": ["x", "y"],
                "b": {"choices": [1, 2], "when": {"a": "x"}},
                "c": {"choices": [1], "when": {"b": 1, "a": "y"}},
            },
            "search.space.c.when: a is 'y', and b exists only where it is 'x'; expected conditions that can hold",
        ),
        ({"a": {"choices": [1], "when": {}}}, "search.space.a.when"),
    ],
)
def test_a_condition_that_cannot_be_is_told(space: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError) as caught:
        space_of(space)
    assert said in str(caught.value)


def test_a_choice_that_is_a_list_can_be_a_condition() -> None:
    space = {"a": [[32], [64, 32], None, True], "b": {"choices": [1], "when": {"a": [64, 32]}}}
    space |= {"c": {"choices": [1], "when": {"a": [None, [32]]}}, "d": {"choices": [1], "when": {"a": None}}}
    grid = Grid(space_of(space))
    assert [grid.at(index) for index in range(grid.size)] == [
        {"a": [32], "c": 1},
        {"a": [64, 32], "b": 1},
        {"a": None, "c": 1, "d": 1},
        {"a": True},
    ]
