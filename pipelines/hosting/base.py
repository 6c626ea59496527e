"""The contract between the steps and the place where endpoints live. Imports nothing heavy."""

from contextlib import AbstractContextManager
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from tidegate.pipelines.experiment.serving import Serving
from tidegate.serving.deployment.release import EndpointState, Release


class Stage(BaseModel):
    """What one step of a canary showed.

    Attributes:
        weight: percent of the traffic that the canary was to get.
        seconds: how long it was watched.
        figures: what was measured of champion and canary, and the limits, under plain names.
    """

    model_config = ConfigDict(frozen=True)
    weight: int
    seconds: float
    figures: dict[str, float]


class Live(BaseModel):
    """An endpoint whose live release has all the traffic, and the stages of the canary that led there."""

    model_config = ConfigDict(frozen=True)
    state: EndpointState
    stages: tuple[Stage, ...] = ()


class Hosting(Protocol):
    """Where endpoints live: this machine, a Kubernetes namespace.

    The release pointer in the store is the truth; every method may be called again after its caller died.
    """

    def check(self, state: EndpointState, serving: Serving) -> None:
        """Refuse what this place can not serve, before a step has run.

        Raises:
            UsageError: naming the key, what was received, what was expected.
        """

    def describe(self, serving: Serving) -> str:
        """How a release takes over here, in a sentence for the plan."""

    def lock(self, name: str, who: str) -> AbstractContextManager[None]:
        """One change of an endpoint at a time; `who` is the run, or "" for a person's command."""

    def choose_port(self, state: EndpointState, wanted: int | None) -> int | None:
        """The port that the endpoint has or gets; None where addresses have none of their own.

        Raises:
            UsageError, PortTakenError: the one asked for can not be had.
        """

    def tag(self) -> str:
        """The tag of the images that serve a release which is deployed now; "" where there are no images."""

    def url(self, state: EndpointState) -> str:
        """The endpoint's base URL; it never changes while the endpoint lives."""

    def answers(self, state: EndpointState) -> bool:
        """Whether the live release runs and has the endpoint's traffic."""

    def start(self, state: EndpointState, release: Release) -> None:
        """Make sure that a release's servers run and are ready, without traffic.

        Raises:
            ServerStartError: they ended or stayed silent, with the end of the log.
        """

    def private_url(self, state: EndpointState, number: int) -> str:
        """Where a release answers that has no traffic yet; it is started when it does not run."""

    def go_live(self, name: str, number: int, *, guarded: bool = False) -> Live:
        """Move the pointer and the traffic to a release, retire the others. Takes no lock itself.

        Args:
            name: the endpoint.
            number: the release.
            guarded: as a canary first, where the release asks for one and there is a champion.

        Raises:
            PortTakenError: a foreign process has the endpoint's port; nothing was changed.
            CanaryError: the canary was worse than the champion, which has all the traffic again.
        """

    def stop(self, state: EndpointState, number: int) -> bool:
        """Let a release's servers answer what they have, then end them; whether there were any."""

    def retire_others(self, state: EndpointState) -> None:
        """Bring traffic to the live release alone, and end the servers of all but it and those a run still drives."""

    def remove(self, state: EndpointState) -> bool:
        """End every server of an endpoint and take its address away; whether the live release ran."""

    def down(self) -> list[str]:
        """End every server of every endpoint, but no release; what was ended. `ensure_live` starts it again."""

    def sweep(self) -> list[str]:
        """Remove what belongs to no release that is live or on its way; what was removed."""
