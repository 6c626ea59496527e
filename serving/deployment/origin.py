"""Where a release was promoted from."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Origin(BaseModel):
    """Where a release was promoted from.

    Attributes:
        promotion: its id, of whatever drives the release until it is live here.
        target: the name of the other target, as whoever promoted calls it.
        place: where that target keeps its releases: a bucket's URL, or HOST:FOLDER.
        release: its number there.
        plan: SHA-256 (hex) of the experiment and the steps' keys that made it; "" where its bundle has no chain.
        tracked: the winner's run in the MLflow that it uses; "" where it is not known.
        history: what was done to it there, as that history's entries, the oldest first.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)

    promotion: str
    target: str
    place: str
    release: int
    plan: str = ""
    tracked: str = ""
    history: tuple[dict[str, Any], ...] = ()
