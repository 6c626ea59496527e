"""When an experiment runs again by itself: at stated times, or when something has happened."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from tidegate.pipelines.experiment.part import Name, Part

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
AGE = re.compile(r"([1-9][0-9]{0,6})([smhdw])")
FOR = "1h"  # of a drift, when not given


def _checked(age: str) -> str:
    if not AGE.fullmatch(age):
        raise ValueError("expected a time such as 30s, 10m, 24h or 7d; correct it")
    return age


Age = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": f"^{AGE.pattern}$"})]


def age_seconds(age: str | None) -> float:
    """An `Age`, such as 10m, in seconds; 0 for none."""
    return float(int(age[:-1]) * UNITS[age[-1]]) if age else 0.0


class Schedule(Part):
    """The times at which a run starts."""

    cron: str = Field(
        description="when a run starts: minute, hour, day of the month, month and day of the week, such as '0 3 * * *'"
    )
    timezone: str = Field("UTC", description="where the cron's clock is, such as Europe/Berlin")
    jitter: Age | None = Field(
        None, description="a run starts up to so much later, by a time that the moment and the name decide"
    )
    catch_up: Literal["skip", "one"] = Field(
        "skip",
        description="of moments that passed while nothing could start (the machine was off): skip: none of them; one: "
        "one run for all of them",
    )
    overlap: Literal["skip", "queue"] = Field(
        "skip",
        description="of a moment at which the run before is still underway: skip: no run; queue: one run, when that "
        "one has ended",
    )

    def problems(self) -> Iterator[str]:
        # Imported where there is a schedule: of most experiments it would be in vain.
        from tidegate.pipelines.experiment.automation.cron import problems_of

        yield from problems_of(self.cron, self.timezone, age_seconds(self.jitter))


class Trigger(Part):
    """What starts a run when it happens; one of new_data, drift and model."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", protected_namespaces=(), serialize_by_alias=True
    )
    new_data: Age | None = Field(
        None, description="data.source has changed, and has then stayed as it is for so long"
    )
    drift: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="the endpoint's largest drift index is at least this, see serving; 0.25 is usually read as moved",
    )
    for_: Age | None = Field(None, alias="for", description=f"and has been for so long; {FOR} when not given")
    model: Name | None = Field(None, description="this other endpoint has another live release")

    def problems(self) -> Iterator[str]:
        given = [key for key in ("new_data", "drift", "model") if getattr(self, key) is not None]
        if len(given) != 1:
            yield (
                f"a trigger has {' and '.join(given) or 'none of its keys'}; expected one of new_data, drift and "
                "model; write each as an entry of its own"
            )
        if self.for_ is not None and self.drift is None:
            yield "for is how long a drift has lasted, and there is no drift; leave it out"

    @property
    def kind(self) -> str:
        """What it looks at; a second trigger of the same kind would have the first one's memory."""
        if self.model is not None:
            return f"model: {self.model}"
        return "drift" if self.new_data is None else "new_data"

    @property
    def lasting_s(self) -> float:
        """How long the drift must last, in seconds."""
        return age_seconds(self.for_ or FOR)
