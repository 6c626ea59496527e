"""Who must say yes before a release."""

from collections.abc import Sequence

from pydantic import Field

from tidegate.pipelines.experiment.automation.schedule import Age
from tidegate.pipelines.experiment.part import Part


class Approval(Part):
    """People who must approve a candidate that has met all conditions."""

    approval: int = Field(
        ge=1, le=9, description="so many people must approve what met all conditions: `tidegate approve RUN`"
    )
    by: Age | None = Field(
        None, description="what is not approved within this time is refused; it waits for ever when not given"
    )


def approval_of(gate: str | Sequence[Part]) -> Approval | None:
    """Who must approve by a gate; None where nobody is asked."""
    return next((entry for entry in gate if isinstance(entry, Approval)), None)
