"""Releases of an endpoint: one small document, changed by pure functions and compare-and-swap.

The document in the store decides which release is live; the registry's alias follows it.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tidegate.serving.bundle.measurements import Parity, Runtime
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.origin import Origin
from tidegate.serving.errors import ReleaseError

State = Literal["pending", "live", "failed", "retired"]
ATTEMPTS = 50


class Release(BaseModel):
    """One bento at one endpoint.

    Attributes:
        key: identifies the request for this release, so that a repeated request does not make another one.
        bundle: its digest.
        bento: its tag.
        serving: the `serving` part of the experiment, so that a rollback serves the release as before.
        tag: of the images on a cluster, for the same reason.
        tls: the Secret with the certificate of its servers on a cluster, for the same reason; "": they have none.
        path_prefix: what its servers take away from paths on a cluster, for the same reason; "": nothing.
        secrets: names of the secrets that the user's code in the bundle expects, for the same reason.
        signed_by: id of the key that signed the bundle; "" of a release that is not signed.
        origin: where it was promoted from; None where it was made here.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    number: int
    endpoint: str
    run: str
    trial: str
    key: str
    bundle: str
    bento: str
    runtime: Runtime
    parity: Parity
    created: str
    state: State = "pending"
    serving: dict[str, Any] = {}
    tag: str = ""
    secrets: tuple[str, ...] = ()
    signed_by: str = ""
    # Left out where there are none: then it is a release that earlier versions read.
    tls: str = Field("", exclude_if=lambda value: not value)
    path_prefix: str = Field("", exclude_if=lambda value: not value)
    origin: Origin | None = Field(None, exclude_if=lambda value: value is None)

    @property
    def driver(self) -> str:
        """The id of what drives it until it is live: its run, or the promotion that brought it here."""
        return self.run if self.origin is None else self.origin.promotion


class EndpointState(BaseModel):
    """An endpoint: its port, its releases in order, and the number of the live one.

    `incarnation` counts how often it was deleted: release numbers then start again at 1, but names made of incarnation
    and number stay unique. `events` were done to it and may not be in the history yet: they are written together with
    what they tell of, so that none is lost.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    name: str
    port: int | None = None
    current: int | None = None
    releases: tuple[Release, ...] = ()
    incarnation: int = 0
    events: tuple[Event, ...] = ()

    def release(self, number: int) -> Release:
        """The release of that number; raises ReleaseError."""
        found = next((release for release in self.releases if release.number == number), None)
        if found is None:
            known = ", ".join(str(release.number) for release in self.releases) or "none"
            raise ReleaseError(
                f"endpoint {self.name!r} has no release {number}; its releases are: {known}; name one of them"
            )
        return found

    def find(self, key: str) -> Release | None:
        """The release with this key, unless it failed."""
        matches = (release for release in self.releases if release.key == key and release.state != "failed")
        return next(matches, None)


def reserve(state: EndpointState, *, key: str, **facts: Any) -> EndpointState:
    """Add a pending release with the next number; if the key has one already, nothing changes.

    Args:
        state: of the endpoint.
        key: of the release.
        facts: its other attributes, see `Release`.
    """
    if state.find(key) is not None:
        return state
    release = Release(
        number=1 + max((release.number for release in state.releases), default=0),
        endpoint=state.name,
        key=key,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    )
    return state.model_copy(update={"releases": (*state.releases, release)})


def promote(state: EndpointState, number: int, event: Event | None = None) -> EndpointState:
    """Make a release the live one and retire the previous one; raises ReleaseError for an unknown number.

    `event` tells of it; it is left out where the release is live already.
    """
    release = state.release(number)
    states: dict[int, State] = {number: "live"}
    if state.current is not None:
        states = {state.current: "retired", **states}
    promoted = _with_states(state, states).model_copy(update={"current": number})
    return promoted if promoted == state else _noted(promoted, event, release, state.current)


def keep_newest(state: EndpointState, keep: int) -> EndpointState:
    """Forget releases that ended, so that no more than `keep` of those that served stay, the live one among them.

    No release needs the runs of the others any more, so they may be deleted. Failed releases go with those that are
    older; one that is pending stays.
    """
    served = [known.number for known in state.releases if known.state in ("live", "retired")]
    others = [number for number in served if number != state.current]
    kept = {*others[len(others) - keep + 1 :], state.current} if len(served) > keep else set(served)
    oldest, last = (
        min(filter(None, kept), default=0),
        max((known.number for known in state.releases), default=0),
    )

    def stays(known: Release) -> bool:
        failed_since = known.state == "failed" and known.number > oldest
        # The last number is never free again: names of a release's servers are made of it.
        return known.state == "pending" or known.number in kept or failed_since or known.number == last

    releases = tuple(known for known in state.releases if stays(known))
    return state.model_copy(update={"releases": releases})


def fail(state: EndpointState, number: int, event: Event | None = None) -> EndpointState:
    """Mark a release that never was live as failed; the live one stays live. `event` tells of it."""
    release = state.release(number)
    if release.state != "pending":
        return state
    return _noted(_with_states(state, {number: "failed"}), event, release, state.current)


def _noted(state: EndpointState, event: Event | None, release: Release, before: int | None) -> EndpointState:
    """The state with an event about a release, and what was live before it."""
    if event is None:
        return state
    facts = {"release": release.number, "before": before, "bundle": release.bundle}
    told = event.with_facts(**facts, incarnation=state.incarnation)
    return state.model_copy(update={"events": (*state.events, told)})


def rollback_target(state: EndpointState, to: int | None = None) -> Release:
    """The release a rollback goes to.

    Args:
        state: the endpoint.
        to: a number; None: the latest release before the live one that has been live.

    Raises:
        ReleaseError: there is none, or `to` has never been live.
    """
    if to is not None:
        release = state.release(to)
        if release.state in ("retired", "live"):
            return release
        raise ReleaseError(
            f"release {to} of {state.name!r} is {release.state}; expected one that has served; "
            f"choose one of: {_served(state)}"
        )
    before = [release for release in state.releases if release.state == "retired"]
    before = [release for release in before if release.number < (state.current or 0)]
    if not before:
        raise ReleaseError(
            f"endpoint {state.name!r} has no release before {state.current} to go back to; "
            f"releases that have served: {_served(state)}; name one with --to"
        )
    return before[-1]


def deleted(state: EndpointState, event: Event | None = None) -> EndpointState:
    """The endpoint after `delete`: no release, no port, the next incarnation. `event` tells of it."""
    last = () if event is None else (event.with_facts(release=state.current, incarnation=state.incarnation),)
    return EndpointState(name=state.name, incarnation=state.incarnation + 1, events=(*state.events, *last))


def told(state: EndpointState, ids: Collection[str]) -> EndpointState:
    """The endpoint without the events of these ids: they are in the history."""
    return state.model_copy(update={"events": tuple(event for event in state.events if event.id not in ids)})


class Documents(Protocol):
    """A storage of documents with compare-and-swap; every store is one."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Content and etag, or None."""

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        """Replace the document read with `etag`; None: it must not exist."""


def load(documents: Documents, name: str) -> EndpointState:
    """Read an endpoint's document; an endpoint never deployed is an empty state."""
    found = documents.read(_key(name))
    return (
        EndpointState.model_construct(name=name)
        if found is None
        else EndpointState.model_validate_json(found[0])
    )


def update(
    documents: Documents,
    name: str,
    change: Callable[[EndpointState], EndpointState],
    conflict: type[Exception],
) -> EndpointState:
    """Change an endpoint's document, and retry when someone else was faster.

    Args:
        documents: the store.
        name: the endpoint.
        change: a pure function; it may be called several times.
        conflict: what the store raises when the document was changed in the meantime.

    Raises:
        ReleaseError: from `change`, or after ATTEMPTS conflicts.
    """
    for _ in range(ATTEMPTS):
        found = documents.read(_key(name))
        state = EndpointState(name=name) if found is None else EndpointState.model_validate_json(found[0])
        changed = change(state)
        if changed == state:
            return state
        try:
            documents.write(_key(name), _content(changed), found and found[1])
        except conflict:
            continue
        return changed
    raise ReleaseError(
        f"endpoint {name!r} was changed by others {ATTEMPTS} times in a row; expected no change meanwhile; "
        "try again"
    )


def _content(state: EndpointState) -> bytes:
    """The document; without waiting events it is one that earlier versions read."""
    return state.model_dump_json(indent=1, exclude=None if state.events else {"events"}).encode()


def _key(name: str) -> str:
    return f"endpoints/{name}.json"


def _served(state: EndpointState) -> str:
    numbers = [str(release.number) for release in state.releases if release.state in ("retired", "live")]
    return ", ".join(numbers) or "none"


def _with_states(state: EndpointState, states: dict[int, State]) -> EndpointState:
    releases = tuple(
        release.model_copy(update={"state": states.get(release.number, release.state)})
        for release in state.releases
    )
    return state.model_copy(update={"releases": releases})
