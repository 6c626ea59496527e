"""What the inputs and outputs of all steps are made of: strict types, and places for what is not there yet.

The plan writes a step's inputs and a worker reads them, so that a wrong or missing key is found by mypy, or else when
the plan is made. An output of an earlier step is not there yet then. Its place is held by a `From`, which stands in a
field of type `Later[...]` only, and is filled in before the step starts; a step itself never sees one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, WrapValidator


class StepPart(BaseModel):
    """Base of a step's inputs and outputs: immutable, strict, plain values and references only."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


@dataclass(frozen=True)
class From:
    """An output of an earlier step, filled in once that step is finished; all of its outputs where none is named."""

    step: str
    output: str | None = None


def _place_or_value(value: Any, validate: Callable[[Any], Any]) -> Any:
    return value if isinstance(value, From) else validate(value)


Left = TypeVar("Left", bound=StepPart)
Value = TypeVar("Value")
Later = Annotated[Value, WrapValidator(_place_or_value)]


def place_of(step: str, outputs: type[Left]) -> Left:
    """A place for all that a step leaves, with the type of what will stand there."""
    del outputs  # mypy alone needs it
    return cast(Left, From(step))


def places_in(step: str, outputs: type[Left]) -> Left:
    """A place for each single output of a step, under its name, with the type of what will stand there."""
    places: dict[str, Any] = {name: From(step, name) for name in outputs.model_fields}
    return outputs.model_construct(**places)
