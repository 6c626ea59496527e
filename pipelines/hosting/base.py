"""The contract between the steps and the place where endpoints live. Imports nothing heavy."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from tidegate.pipelines.experiment.serving import Serving
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.release import EndpointState, Release

if TYPE_CHECKING:
    from tidegate.serving.deployment.connections import Trust


class Stage(BaseModel):
    """The result of one step of a canary.

    Attributes:
        weight: the canary's share of the traffic in percent.
        seconds: how long it was measured.
        figures: measurements of champion and canary, and the limits, by name.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)
    weight: int
    seconds: float
    figures: dict[str, float]


class Live(BaseModel):
    """An endpoint whose live release has all the traffic, and the stages of the canary that led there."""

    model_config = ConfigDict(defer_build=True, frozen=True)
    state: EndpointState
    stages: tuple[Stage, ...] = ()


class Hosting(Protocol):
    """Where endpoints live: this machine, a Kubernetes namespace.

    The release pointer in the store is the source of truth. Every method is safe to call again after a crash.
    """

    def check(self, state: EndpointState, serving: Serving) -> None:
        """Refuse what this place cannot serve, before any step runs.

        Raises:
            UsageError: it names the key, what was received and what was expected.
        """

    def describe(self, serving: Serving) -> str:
        """One sentence for the plan: how a release takes over here."""

    def lock(self, name: str, run: str) -> AbstractContextManager[None]:
        """Allow one change of an endpoint at a time; `run` is the id of the run, or "" for a user's command."""

    def choose_port(self, state: EndpointState, wanted: int | None) -> int | None:
        """The port that the endpoint has or gets; None where endpoints have no ports of their own.

        Raises:
            UsageError, PortTakenError: the wanted port is not available.
        """

    def facts(self, endpoint: str) -> dict[str, str]:
        """What a release that is deployed now has of this place, by the names in `Release`; {} for nothing."""

    def url(self, state: EndpointState) -> str:
        """The endpoint's base URL; it stays the same until the endpoint is deleted."""

    def trust(self, state: EndpointState) -> "Trust | None":
        """Which certificate the endpoint and its releases must show; None: as a client of any URL has it."""

    def answers(self, state: EndpointState) -> bool:
        """Whether the live release runs and gets the endpoint's traffic."""

    def logs(self, state: EndpointState, number: int) -> dict[str, str]:
        """What each server of a release printed so far, by a name of the server; {} when none ever ran."""

    def prove(self, state: EndpointState, number: int) -> dict[str, str]:
        """Have a release's servers answer its golden rows now: by server "", or what is wrong.

        Raises:
            UsageError: servers of this place are not asked.
            ServerError: one does not answer.
        """

    def start(self, state: EndpointState, release: Release) -> None:
        """Ensure that a release's servers run and are ready; they get no traffic yet.

        Raises:
            ServerStartError: they ended or did not become ready; with the end of the log.
        """

    def private_url(self, state: EndpointState, number: int) -> str:
        """The URL of a release that has no traffic yet; it is started if it does not run."""

    def key(self, state: EndpointState, number: int) -> str | None:
        """The API key with which a release is verified; None: it needs none."""

    def go_live(
        self, name: str, number: int, *, try_canary: bool = False, event: Event | None = None
    ) -> Live:
        """Move the pointer and the traffic to a release and retire the others. The caller holds the lock.

        Args:
            name: the endpoint.
            number: the release.
            try_canary: run a canary first, if the release configures one and there is a champion.
            event: what the history says of it, written in one step with the pointer; the caller settles it.

        Raises:
            PortTakenError: another program has the endpoint's port; nothing was changed.
            CanaryError: the canary was worse than the champion, which gets all traffic again.
        """

    def stop(self, state: EndpointState, number: int) -> bool:
        """Drain a release's servers, then stop them; return whether there were any."""

    def retire_others(self, state: EndpointState) -> None:
        """Route all traffic to the live release; stop all other servers except those of active runs."""

    def remove(self, state: EndpointState) -> bool:
        """Stop every server of an endpoint and remove its address; return whether the live release ran."""

    def down(self) -> list[str]:
        """Stop every server of every endpoint and return their names; `ensure_live` starts them again."""

    def sweep(self) -> list[str]:
        """Remove what belongs to no live or pending release; return the names of what was removed."""
