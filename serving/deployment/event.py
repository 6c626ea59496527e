"""What somebody did to an endpoint or a run: a value that waits in a document until it is in the history."""

from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict


class Actor(BaseModel):
    """Who did something, and from where.

    Attributes:
        user: of the operating system, or as the cluster's API server knows whoever asks.
        host: the machine's or the pod's name.
        through: who did it for them, such as the service account of a run's driver; "" when they did it themselves.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)
    user: str
    host: str
    through: str = ""

    def __str__(self) -> str:
        return self.user if not self.through else f"{self.user} through {self.through}"


class Event(BaseModel):
    """One thing that was done.

    Attributes:
        id: of this event alone; the history has it once.
        kind: released, promoted, refused, rolled_back, approved, deleted; or began, of a home that is older than its
            history.
        time: UTC, ISO 8601.
        actor: who did it.
        reason: what they gave with `-m`; "" for nothing.
        endpoint: its name; "" where it is about none.
        run: its id; "" where it is about none.
        facts: more about it, as plain values.
        since: number of the newest entry of the history when this was made: its own comes after it.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)
    id: str
    kind: str
    time: str
    actor: Actor
    reason: str = ""
    endpoint: str = ""
    run: str = ""
    facts: dict[str, Any] = {}
    since: int = 0

    def with_facts(self, **facts: Any) -> "Event":
        """The same event, with more known about it."""
        return self.model_copy(update={"facts": {**self.facts, **facts}})

    def turned(self, kind: str, **facts: Any) -> "Event":
        """Another event, of what came of this one instead."""
        made = self.model_copy(update={"id": new_id(), "kind": kind})
        return made.with_facts(**facts)


def new_id() -> str:
    """An id that no other event has."""
    return uuid4().hex
