"""The search space: which values can be tried, checked before the first trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from tidegate.models.config.options import parse_options
from tidegate.models.config.training_parts import FrozenOptions
from tidegate.models.errors import OptionsError


class Choices(FrozenOptions):
    """A value from a list."""

    choices: tuple[Any, ...] = Field(min_length=1, description="The values to choose from.")

    def grid(self, name: str) -> list[Any]:
        """Return every choice, in order; `name` is only there for the same signature as in `Between`."""
        del name
        return list(self.choices)


class Between(FrozenOptions):
    """A number in a range, both ends included; an integer if low, high and step are integers."""

    low: int | float = Field(description="The smallest value.")
    high: int | float = Field(description="The largest value.")
    log: bool = Field(False, description="Draw on a logarithmic scale.")
    step: int | float | None = Field(None, gt=0, description="The distance between two values.")
    num: int | None = Field(None, ge=2, description="Number of grid points, including both ends.")

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; expected low <= high; swap them")
        if self.log and self.low <= 0:
            raise ValueError(
                f"low is {self.low} with log; expected a number above 0; raise it, or leave log out"
            )
        if self.log and self.step is not None:
            raise ValueError("log and step are both given; expected one of them; leave one out")
        return self

    @property
    def whole(self) -> bool:
        """Whether all values are integers."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    def grid(self, name: str) -> list[Any]:
        """Return the points of a grid from low to high.

        Raises:
            OptionsError: neither step nor num is given.
        """
        if self.step is not None:
            count = int((self.high - self.low) / self.step + 1e-9) + 1
            return [self.low + index * self.step for index in range(count)]
        if self.num is None:
            raise OptionsError(
                f"search.space.{name} is a range from {self.low} to {self.high}; expected its points for a grid; add "
                "`num: 3` or `step: ...` to it, list its `choices`, or use method random or tpe"
            )
        parts = [index / (self.num - 1) for index in range(self.num)]
        points = [self._at(part) for part in parts]
        return sorted({round(point) for point in points}) if self.whole else points

    def _at(self, part: float) -> float:
        """The number at a fraction of the way from low to high; both ends are exact."""
        if part in (0.0, 1.0):
            return float(self.high if part else self.low)
        return float(
            self.low * (self.high / self.low) ** part
            if self.log
            else self.low + (self.high - self.low) * part
        )


def space_of(space: Mapping[str, Any]) -> dict[str, Choices | Between]:
    """Return the searched values by dotted name, checked.

    Args:
        space: for each name {low, high, log, step, num}, {choices: [...]}, or a plain list of choices.

    Raises:
        OptionsError: the space is empty, or an entry has another form.
    """
    if not space:
        raise OptionsError(
            "search.space is empty; expected at least one `name: {low: ..., high: ...}`; add one"
        )
    return {name: _entry(name, entry) for name, entry in space.items()}


def _entry(name: str, entry: Any) -> Choices | Between:
    where = f"search.space.{name}"
    if isinstance(entry, list | tuple):
        return parse_options(Choices, {"choices": tuple(entry)}, where)
    if not isinstance(entry, Mapping):
        raise OptionsError(
            f"option {where!r} is {entry!r}; expected {{low, high}}, {{choices: [...]}} or a list; correct it"
        )
    if "choices" in entry:
        return parse_options(Choices, entry, where)
    return parse_options(Between, entry, where)
