"""Numbers in steps, to the digit, and choices of any kind, by each method."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.tuning.entries import Between, Choices, entry_of
from tidegate.models.tuning.grid import Grid
from tidegate.models.tuning.search import suggest
from tidegate.models.tuning.space import require_used, space_of

METHODS = ("random", "tpe")


def drawn(entry: Any, method: str, trials: int = 40) -> list[Any]:
    """What a method draws, one trial after the other, each knowing all before it."""
    history: list[dict[str, Any]] = []
    for index in range(trials):
        params = suggest({"method": method, "space": {"a": entry}}, index, history)
        history.append({"params": params, "value": float(index % 7)})
    return [past["params"]["a"] for past in history]


def points(entry: Any) -> list[Any]:
    grid = Grid(space_of({"a": entry}))
    return [grid.at(index)["a"] for index in range(grid.size)]


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ({"low": 16, "high": 64, "step": 16}, [16, 32, 48, 64]),
        ({"low": 3, "high": 3, "step": 2}, [3]),
        ({"low": 0.1, "high": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"low": 0, "high": 1, "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"low": -1, "high": 1e-3, "step": 1.001}, [-1.0, 0.001]),
    ],
)
def test_steps_are_exact(entry: dict[str, Any], values: list[Any]) -> None:
    assert list(map(repr, points(entry))) == list(map(repr, values))
    for method in METHODS:
        assert set(map(repr, drawn(entry, method))) == set(map(repr, values))


@pytest.mark.parametrize("method", METHODS)
def test_integers_on_a_logarithmic_scale(method: str) -> None:
    found = drawn({"low": 1, "high": 64, "log": True}, method)
    assert all(type(value) is int and 1 <= value <= 64 for value in found)
    assert sum(value <= 8 for value in found) > len(found) / 4
    assert points({"low": 1, "high": 64, "log": True, "num": 3}) == [1, 8, 64]


@pytest.mark.parametrize("method", METHODS)
def test_choices_of_any_kind(method: str) -> None:
    choices = [None, True, 1, [32, 16], "a", {"name": "sgd"}, 0.5, False, 0]
    found = drawn(choices, method)
    assert {repr(one) for one in found} <= {repr(one) for one in choices}
    assert list(map(repr, points(choices))) == list(map(repr, choices))
    entry = entry_of("a", choices)
    assert isinstance(entry, Choices) and [entry.index(one) for one in choices] == list(range(len(choices)))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"low": 1, "high": 10, "step": 4},
            "high 10 is not low 1 plus a multiple of step 4; expected a high such as 9 or 13",
        ),
        ({"low": 0.1, "high": 0.5, "step": 0.3}, "expected a high such as 0.4 or 0.7"),
        ({"low": 1, "high": 3, "step": 5}, "expected a high such as 1 or 6"),
        (
            {"low": 0, "high": 1, "step": 1 / 3},
            "expected a high such as 0.9999999999999999 or 1.3333333333333333",
        ),
        ({"low": 1, "high": 3, "step": 0}, "expected a number above 0"),
        ({"low": 1, "high": 9, "step": 2, "num": 3}, "num and step are both given"),
        ({"low": True, "high": 3}, "received True; expected a finite number"),
        ({"low": 1, "high": float("inf")}, "received inf; expected a finite number"),
    ],
)
def test_a_wrong_range_is_told(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError) as caught:
        entry_of("a", entry)
    assert said in str(caught.value)


def test_points_of_a_grid_are_for_a_grid() -> None:
    space = space_of({"a": {"low": 1, "high": 9, "num": 3}})
    require_used(space, "grid")
    with pytest.raises(
        OptionsError, match=r"search\.space\.a has num: 3, the points of a grid, and search.method is tpe"
    ):
        require_used(space, "tpe")


def test_a_range_knows_its_values() -> None:
    entry = Between(low=0.1, high=0.5, step=0.1)
    assert entry.has(0.3) and not entry.has(0.25) and not entry.has(0.6) and not entry.has(True)


def test_a_step_far_below_or_above_the_range() -> None:
    with pytest.raises(OptionsError, match="100,000,001 points; expected at most 100,000 for a grid"):
        Between(low=0.0, high=1.0, step=1e-8).grid("rate")
    assert Between(low=0, high=1e30, step=1e-3).has(0.001)
    with pytest.raises(OptionsError, match=r"high 1e\+30 is not low 0 plus a multiple of step 7"):
        entry_of("rate", {"low": 0, "high": 1e30, "step": 7})


def test_what_stands_for_a_stepped_range_shows_a_fraction() -> None:
    assert Between(low=8, high=64, step=0.5).checked == (8.0, 8.5, 64)
    assert Between(low=1, high=5).checked == (1, 5)


def test_choices_are_finite() -> None:
    with pytest.raises(OptionsError, match="received nan; expected finite numbers"):
        entry_of("rate", [float("nan"), 0.01])
