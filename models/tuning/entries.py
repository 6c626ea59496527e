"""One searched value: a choice from a list, or a number in a range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pydantic import Field, field_validator, model_validator

from tidegate.models.config.options import parse_options
from tidegate.models.config.training_parts import FrozenOptions
from tidegate.models.errors import OptionsError

MAX_POINTS = 100_000  # of one range in a grid, which are listed
# Of the way from low to high: a number without a fraction is as good as never there.
WITHIN = 0.3819660112501051


def same(one: Any, other: Any) -> bool:
    """Whether two values of the search are the same: 1 is 1.0, and true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


class Conditional(FrozenOptions):
    """What a choice and a range have in common."""

    when: dict[str, Any] | None = Field(
        None,
        description="Dotted key of another searched value -> a value of it, or a list of them: only there it exists.",
    )

    @field_validator("when", mode="before")
    @classmethod
    def _conditions(cls, value: Any) -> Any:
        if value is not None and not (isinstance(value, Mapping) and value):
            raise ValueError(
                "expected another searched key and a value of it, such as {training.optimizer: sgd}; write it so, or "
                "leave when out"
            )
        return value


class Choices(Conditional):
    """A value from a list."""

    choices: tuple[Any, ...] = Field(min_length=1, description="The values to choose from.")

    @field_validator("choices")
    @classmethod
    def _finite(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """JSON has neither NaN nor infinities: a trial would get null."""
        strange = next((one for one in value if isinstance(one, float) and not math.isfinite(one)), None)
        if strange is not None:
            raise ValueError(f"received {strange}; expected finite numbers; correct it")
        return value

    @property
    def checked(self) -> tuple[Any, ...]:
        """The values that stand for all when an experiment is checked."""
        return self.choices

    def grid(self, name: str) -> list[Any]:
        """Return every choice, in order; `name` is only there for the same signature as in `Between`."""
        del name
        return list(self.choices)

    def index(self, value: Any) -> int | None:
        """The place of a value among the choices; None where it is none of them."""
        return next((index for index, choice in enumerate(self.choices) if same(choice, value)), None)

    def has(self, value: Any) -> bool:
        """Whether it is one of the choices."""
        return self.index(value) is not None


class Between(Conditional):
    """A number in a range, both ends included; an integer if low, high and step are integers."""

    low: int | float = Field(description="The smallest value.")
    high: int | float = Field(description="The largest value.")
    log: bool = Field(False, description="Draw on a logarithmic scale.")
    step: int | float | None = Field(None, gt=0, description="The distance between two values.")
    num: int | None = Field(
        None, ge=2, le=MAX_POINTS, description="Number of grid points, including both ends."
    )

    @field_validator("low", "high", "step", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"received {value}; expected a finite number; correct it")
        return value

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
        if self.num is not None and self.step is not None:
            raise ValueError("num and step are both given; expected one of them; leave one out")
        self._require_reached()
        return self

    def _require_reached(self) -> None:
        """Refuse a high that no step reaches: it would never be tried."""
        if self.step is None or not (_exact(self.high) - _exact(self.low)) % _exact(self.step):
            return
        raise ValueError(
            f"high {self.high} is not low {self.low} plus a multiple of step {self.step}; expected a high such as "
            f"{self._stepped(self._steps)} or {self._stepped(self._steps + 1)}; change it, or the step"
        )

    @property
    def checked(self) -> tuple[Any, ...]:
        """The values that stand for all when an experiment is checked: both ends, and the first one after low, or one
        with a fraction, which an option of whole numbers refuses."""
        if self.step is not None:
            return (self.low, *((self._stepped(1),) if self._steps else ()), self.high)
        within = (self._at(WITHIN),) if not self.whole and self.low < self.high else ()
        return (self.low, *within, self.high)

    @property
    def whole(self) -> bool:
        """Whether all values are integers."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    @property
    def listed(self) -> bool:
        """Whether it has single values, as those of steps and integers are."""
        return self.whole or self.step is not None

    @property
    def _steps(self) -> int:
        """Number of steps from low to high."""
        return int((_exact(self.high) - _exact(self.low)) / _exact(self.step or 1))

    def _stepped(self, count: int) -> int | float:
        """Low plus some steps, to the digit: 0.1 and two steps of 0.1 are 0.3."""
        total = _exact(self.low) + count * _exact(self.step or 1)
        return int(total) if self.whole else float(total)

    def nearest(self, value: float) -> int | float:
        """The value of the range that was drawn, to the digit where it has steps."""
        if self.step is None:
            return value
        return self._stepped(round((value - self.low) / self.step))

    def has(self, value: Any) -> bool:
        """Whether it is one of the values; of a range without single values, whether it lies within."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            return False
        return self.step is None or same(self.nearest(value), value)

    def grid(self, name: str) -> list[Any]:
        """Return the points of a grid from low to high.

        Raises:
            OptionsError: neither step nor num is given, or there are more than MAX_POINTS.
        """
        if self.step is not None and self._steps >= MAX_POINTS:
            raise OptionsError(
                f"search.space.{name} has {self._steps + 1:,} points; expected at most {MAX_POINTS:,} for a grid; "
                "raise its step, or use method random or tpe"
            )
        if self.step is not None:
            return [self._stepped(index) for index in range(self._steps + 1)]
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


def _exact(number: float) -> Fraction:
    """A number as it is written, so that steps of 0.1 add up to the digit."""
    return Fraction(str(number))


Entry = Choices | Between


def entry_of(name: str, entry: Any) -> Entry:
    """Return one entry of `search.space`, checked.

    Raises:
        OptionsError: it has another form than {low, high, log, step, num}, {choices: [...]} or a list.
    """
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
