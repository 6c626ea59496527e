"""Base types of the inputs and outputs of all steps: strict models, and placeholders for values not known yet.

The plan writes a step's inputs and a worker reads them, so mypy finds a wrong or missing key, or else making the plan
does. Outputs of earlier steps are not known at that time. A `From` is their placeholder; it is allowed only in a field
of type `Later[...]` and is replaced before the step starts, so a step itself never sees one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, WrapValidator


class StepPart(BaseModel):
    """Base of a step's inputs and outputs: immutable, strict, plain values, finite numbers and references only."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )


@dataclass(frozen=True)
class From:
    """Placeholder for one output of an earlier step, or for all of them if `output` is None."""

    step: str
    output: str | None = None


def _place_or_value(value: Any, validate: Callable[[Any], Any]) -> Any:
    return value if isinstance(value, From) else validate(value)


StepOutputs = TypeVar("StepOutputs", bound=StepPart)
Value = TypeVar("Value")
Later = Annotated[Value, WrapValidator(_place_or_value)]


def place_of(step: str, outputs: type[StepOutputs]) -> StepOutputs:
    """A placeholder for all outputs of a step, typed as these outputs."""
    del outputs  # only for mypy
    return cast(StepOutputs, From(step))


def places_in(step: str, outputs: type[StepOutputs]) -> StepOutputs:
    """A placeholder for each single output of a step, by name, typed as this output."""
    places: dict[str, Any] = {name: From(step, name) for name in outputs.model_fields}
    return outputs.model_construct(**places)
