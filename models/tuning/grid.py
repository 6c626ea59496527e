"""A grid over a search space: each combination that can exist, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.models.errors import OptionsError
from tidegate.models.tuning.space import SearchSpace


class Grid:
    """The points of a space, counted without being listed.

    The last value of the space's order changes fastest; a value that does not exist at a point takes no turn there.

    Args:
        space: the searched values.

    Raises:
        OptionsError: a range has neither step nor num.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._points = {name: space[name].grid(name) for name in space.order}
        self._counted: dict[tuple[int, str], int] = {}
        order = space.order
        # For each place, the earlier names on which a value from there on depends.
        self._needed = [
            [name for name in order[:place] if any(name in space.when[later] for later in order[place:])]
            for place in range(len(order) + 1)
        ]

    @property
    def size(self) -> int:
        """Number of points."""
        return self._count(0, {})

    def at(self, index: int) -> dict[str, Any]:
        """Return the point of a number, from 0, by dotted name.

        Raises:
            OptionsError: there is no such point.
        """
        if index >= self.size:
            raise OptionsError(
                f"trial {index + 1} was asked for and the grid has {self.size}; expected at most that many; "
                "lower trials"
            )
        values: dict[str, Any] = {}
        for place, name in enumerate(self._space.order):
            if not self._space.exists(name, values):
                continue
            for point in self._points[name]:
                values[name] = point
                count = self._count(place + 1, values)
                if index < count:
                    break
                index -= count
        return {name: values[name] for name in self._space if name in values}

    def _count(self, place: int, values: Mapping[str, Any]) -> int:
        """Number of combinations of the values from a place on, beside those before it."""
        if place == len(self._space.order):
            return 1
        needed = self._needed[place]
        known = place, repr([values.get(name, ()) for name in needed])
        if known not in self._counted:
            self._counted[known] = self._sum(place, {name: values[name] for name in needed if name in values})
        return self._counted[known]

    def _sum(self, place: int, values: Mapping[str, Any]) -> int:
        name = self._space.order[place]
        if not self._space.exists(name, values):
            return self._count(place + 1, values)
        if name not in self._needed[place + 1]:
            return len(self._points[name]) * self._count(place + 1, values)
        return sum(self._count(place + 1, {**values, name: point}) for point in self._points[name])


def grid_size(space: SearchSpace) -> int:
    """Return how many trials a grid over the space has.

    Raises:
        OptionsError: a range has neither step nor num.
    """
    return Grid(space).size
