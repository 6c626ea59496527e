"""Writing what was done to the history, so that a kill between an act and its entry loses nothing.

An event of an endpoint is written in one step with what it tells of, in the endpoint's document, and so is what people
say of a release, in the document of what they are asked. Any other event is written to a document of its own before it
happens. Either waits there until it has its entry; `settle` gives an entry to whatever a killed process left waiting.
"""

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tidegate.infra.errors import ConflictError, InfraError
from tidegate.infra.store import Store
from tidegate.pipelines.errors import RefusedError, UsageError
from tidegate.pipelines.history.actors import actor_of, on_behalf
from tidegate.pipelines.history.entries import Entry, append, head_of, write_first
from tidegate.pipelines.state.approvals import KEYS as APPROVALS
from tidegate.pipelines.state.approvals import find_request, settled
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.serving.deployment.event import Actor, Event, new_id
from tidegate.serving.deployment.release import EndpointState, load, told, update

WAITING = "history/waiting/"
NEW = ("released", "promoted")  # kinds of events that tell of a new release
LONGEST = 2000  # characters of a reason


def record(
    home: Home,
    kind: str,
    *,
    endpoint: str = "",
    run: str = "",
    reason: str = "",
    actor: Actor | None = None,
    **facts: Any,
) -> Entry:
    """Write one thing that was done as the history's next entry, once and for good.

    Call it just before the act takes effect, such as before a run's record says `approved`: if the process is killed
    after this, the entry is there or is made at the next look, and if it is killed before, nothing was done. For a
    change of an endpoint's release give `new_event(...)` to `promote`, `fail` or `deleted` instead, and call
    `settle_endpoint` after `update`.

    Args:
        home: whose store has the history.
        kind: refused, approved, deleted and the like, as `tidegate history` prints it.
        endpoint: the endpoint that it is about, so that `tidegate history ENDPOINT` shows it.
        run: the run that it is about.
        reason: what the user gave with `-m`.
        actor: who did it; None: whoever runs this process, see `actor_of`.
        facts: more about it: plain JSON values, such as `by="2026-12-01"`.

    Raises:
        UsageError: the reason is too long.
        StoreError: the store cannot be written; nothing is recorded, and the act should not happen.
    """
    event = new_event(home, kind, endpoint=endpoint, run=run, reason=reason, actor=actor, **facts)
    key = f"{WAITING}{event.id}.json"
    home.store.write(key, event.model_dump_json().encode(), None)
    entry = _entered(home.store, event)
    home.store.delete(key)
    return entry


def _entered(store: Store, event: Event) -> Entry:
    """The event's entry, which is written where it has none; before the first one comes what the home had before."""
    return append(store, event, partial(first_event, store, event))


def record_refused(home: Home, run: RunRecord, error: RefusedError) -> str:
    """Record that the gate refused a run; return what kept it from being recorded, or "".

    Args:
        home: of the run.
        run: its record.
        error: with the gate's sentences; a person's refusal has its entry already.
    """
    why = str(error)[:LONGEST]
    if error.by_person:
        return ""
    by, about = on_behalf(run.by, home), {"endpoint": run.endpoint, "run": run.run}
    try:
        record(home, "refused", **about, reason=run.message, actor=by, why=why)
    except InfraError as trouble:
        return f"the history does not have it that {run.run} was refused: {trouble}"
    return ""


def settle_request(store: Store, run: str) -> None:
    """Give what people said of a run its entries, in the order in which they said it."""
    request = find_request(store, run)
    if request is None or not request.events:
        return
    for event in request.events:
        _entered(store, event)
    settled(store, run, {event.id for event in request.events})


def new_event(
    home: Home,
    kind: str,
    *,
    endpoint: str = "",
    run: str = "",
    reason: str = "",
    actor: Actor | None = None,
    **facts: Any,
) -> Event:
    """An event that happens now and is not written yet; arguments and errors as of `record`."""
    return Event(
        id=new_id(),
        kind=kind,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        actor=actor or actor_of(home),
        reason=checked_reason(reason),
        endpoint=endpoint,
        run=run,
        facts=facts,
        since=head_of(home.store).number,
    )


def checked_reason(reason: str | None) -> str:
    """What was given with `-m`, without spaces around it; raises UsageError when it is too long."""
    text = (reason or "").strip()
    if len(text) > LONGEST:
        raise UsageError(
            f"-m has {len(text)} characters; expected {LONGEST} at most; put the long story elsewhere, and name it"
        )
    return text


def settle_endpoint(store: Store, name: str) -> None:
    """Give each event that waits in an endpoint's document its entry, in their order."""
    state = load(store, name)
    for event in state.events:
        _entered(store, event)
    if state.events:
        ids = {event.id for event in state.events}
        update(store, name, lambda known: told(known, ids), ConflictError)


def settle(store: Store) -> None:
    """Give an entry to every event that waits, and to a home that is older than its history its first entry."""
    for name in _endpoints(store):
        settle_endpoint(store, name)
    for key in store.keys(APPROVALS):
        settle_request(store, Path(key).stem)
    for key, (content, _) in store.read_many(store.keys(WAITING)).items():
        with suppress(ValidationError):  # of a later version, which knows what to do with it
            event = Event.model_validate_json(content)
            _entered(store, event)
            store.delete(key)


def begin(home: Home) -> None:
    """Write the first entry where there is none and the home has been used before."""
    if head_of(home.store).number == 0:
        event = first_event(home.store, new_event(home, "began"))
        if event is not None:
            write_first(home.store, event)


def first_event(store: Store, later: Event) -> Event | None:
    """What the first entry of a home says that had releases before it had a history; None of a new home.

    Args:
        store: the home's.
        later: the event that is about to get the first entry.
    """
    known = {state.name: _before(state) for state in map(partial(load, store), _endpoints(store))}
    found = {name: releases for name, releases in known.items() if releases}
    if not found:
        return None
    about = {"id": "began", "kind": "began", "reason": "", "endpoint": "", "run": "", "since": 0}
    return later.model_copy(update={**about, "facts": {"endpoints": found}})


def is_about(event: Event, state: EndpointState, number: int) -> bool:
    """Whether an event tells of this release of the endpoint, and not of an earlier incarnation's."""
    about = event.endpoint, event.facts.get("release"), event.facts.get("incarnation")
    return about == (state.name, number, state.incarnation)


def _before(state: EndpointState) -> list[dict[str, Any]]:
    """The releases of an endpoint that no waiting event tells of."""
    new = {event.facts.get("release") for event in state.events if event.kind in NEW}
    return [
        {"release": release.number, "run": release.run, "bundle": release.bundle, "created": release.created}
        for release in state.releases
        if release.state in ("live", "retired") and release.number not in new
    ]


def _endpoints(store: Store) -> list[str]:
    return [Path(key).stem for key in store.keys("endpoints/")]
