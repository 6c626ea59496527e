"""The base of every part of the experiment file: strict and frozen."""

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
MEMORY = r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h)$")]


class Part(BaseModel):
    """A part of the experiment: immutable, and an unknown key is an error."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", protected_namespaces=())

    def problems(self) -> Iterator[str]:
        """Contradictions between values that are each valid by themselves, one sentence each."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = list(self.problems())
        if found:
            raise ValueError("\n".join(found))
        return self


def as_list(value: Any) -> Any:
    """A single entry as a list of one; a list as it is."""
    return [value] if isinstance(value, str | dict) else value
