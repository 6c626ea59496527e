"""The space of a search: which values there are, checked before one of them is tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from tidegate.models.config.options import parse_options
from tidegate.models.config.training import FrozenOptions
from tidegate.models.errors import OptionsError


class Choices(FrozenOptions):
    """A value out of a list."""

    choices: tuple[Any, ...] = Field(min_length=1, description="The values to choose from.")

    def grid(self, name: str) -> list[Any]:
        """Return every choice, in order; `name` is the searched value's and needed by no message here."""
        del name
        return list(self.choices)


class Between(FrozenOptions):
    """A number of a range, both ends included; a whole number where low, high and step are whole."""

    low: int | float = Field(description="The smallest value.")
    high: int | float = Field(description="The largest value.")
    log: bool = Field(False, description="Every factor is as likely as any other, not every distance.")
    step: int | float | None = Field(None, gt=0, description="The distance between two values.")
    num: int | None = Field(None, ge=2, description="How many values a grid takes, both ends among them.")

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 with log, and is {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; give one of them")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
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
                f"A grid needs to know the points of {name!r}, from {self.low} to {self.high}. Add `num: 3` "
                "or `step: ...` to it, list its `choices`, or use method random or tpe."
            )
        parts = [index / (self.num - 1) for index in range(self.num)]
        points = [self._at(part) for part in parts]
        return sorted({round(point) for point in points}) if self.whole else points

    def _at(self, part: float) -> float:
        """The number that lies at a part of the way from low to high; both ends exactly."""
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
        OptionsError: the space is empty, or an entry is none of these.
    """
    if not space:
        raise OptionsError(
            "The search has an empty space. Expected at least one `name: {low: ..., high: ...}`."
        )
    return {name: _entry(name, entry) for name, entry in space.items()}


def _entry(name: str, entry: Any) -> Choices | Between:
    where = f"search.space.{name}"
    if isinstance(entry, list | tuple):
        return parse_options(Choices, {"choices": tuple(entry)}, where)
    if not isinstance(entry, Mapping):
        raise OptionsError(
            f"Option {where!r} is {entry!r}. Expected {{low, high}}, {{choices: [...]}} or a list."
        )
    if "choices" in entry:
        return parse_options(Choices, entry, where)
    return parse_options(Between, entry, where)
