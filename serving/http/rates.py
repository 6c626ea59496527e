"""How many requests a caller may send, as the experiment file and `--rate-limit` say it: no part of a server."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tidegate.models.config import quantities


class Rate(BaseModel):
    """How many requests in what time."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    requests: int = Field(ge=1, le=1_000_000_000, description="so many at once, if it was quiet before")
    per: Annotated[str, Field(pattern=r"^[1-9]\d{0,5}(s|m|h)$")] = Field(
        "1m", description="the time over which it regains them, evenly"
    )

    @property
    def seconds(self) -> int:
        """The time in which all are regained."""
        return int(quantities.seconds(self.per))


class RateLimit(Rate):
    """How many requests each caller may send, and some by name."""

    callers: dict[str, Rate] = Field(
        {}, description="rates of their own: of keys by name, of tokens by their `sub`, whichever the issuer"
    )
