"""How the processes of one server add up what each of them counts."""

import pickle
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

from prometheus_client.registry import Collector

from tidegate.serving.monitoring.process_group import Member

PUBLISH_EVERY = 0.1  # seconds: the most that the page of one process is behind the others


class Part(Collector):
    """Metrics that can be added up over processes.

    Attributes:
        sharing: with whom; None while this process is the only one.
    """

    sharing: "Sharing | None" = None

    @abstractmethod
    def state(self) -> Any:
        """What this process counted so far."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go on from what a process counted that ended."""

    @abstractmethod
    def fingerprint(self) -> Hashable:
        """A value that changes when `state` does."""


class Sharing:
    """The counts of this process for the others, and theirs for this one.

    Args:
        member: this process among the others.
        parts: what is shared, by name; it goes on from what a predecessor at this place left.
    """

    def __init__(self, member: Member, parts: Mapping[str, Part]) -> None:
        self.member, self._parts = member, parts
        left = member.predecessor()
        for name, state in ({} if left is None else pickle.loads(left)).items():
            parts[name].restore(state)
        for part in parts.values():
            part.sharing = self
        self._published: Hashable = None

    def publish(self) -> None:
        """Let the others know what changed since the last time."""
        fingerprint = tuple(part.fingerprint() for part in self._parts.values())
        if fingerprint != self._published:
            self._published = fingerprint
            self.member.publish(pickle.dumps({name: part.state() for name, part in self._parts.items()}))

    def others(self, name: str) -> list[tuple[Any, bool]]:
        """A part's state in all other places, and whether the process there runs."""
        return [(pickle.loads(content)[name], runs) for content, runs in self.member.others()]
