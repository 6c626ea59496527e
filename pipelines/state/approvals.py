"""Whom a run waits for, and what they said: one document of the store for each run, changed by compare-and-swap."""

import time
from collections.abc import Callable, Collection
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from tidegate.infra.store import Store
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.state.documents import change
from tidegate.serving.deployment.event import Event

KEYS = "approvals/"
Verdict = Literal["waiting", "approved", "refused", "late"]
TOO_LATE = "it was not approved in the time that gate.by gives"
Asked = TypeVar("Asked", bound="Request | None")


class Decision(BaseModel):
    """What somebody said.

    Attributes:
        who: the person or account.
        time: seconds since the epoch.
        approves: or refuses.
        reason: in their words; "" for none.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)
    who: str
    time: float
    approves: bool
    reason: str = ""


class Request(BaseModel):
    """What is asked of people.

    Attributes:
        run: its id.
        subject: the key of the step that made what would be released. Another one, as after a comparison with another
            champion, is asked for anew.
        needed: so many people must approve; one who refuses is enough to refuse.
        asked: since when it waits, seconds since the epoch.
        until: until when; None: for ever.
        told: whether those whom the experiment names were told.
        decisions: in their order.
        events: what was said and is not in the history yet.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)
    run: str
    subject: str
    needed: int
    asked: float
    until: float | None = None
    told: bool = False
    decisions: tuple[Decision, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def approvers(self) -> list[str]:
        """Who approved: each person counts once."""
        return list(dict.fromkeys(one.who for one in self.decisions if one.approves))

    def verdict(self, now: float) -> Verdict:
        """What follows; a decision counts by its own time, whoever looks at it later."""
        if any(not one.approves for one in self.decisions):
            return "refused"
        if len(self.approvers) >= self.needed:
            return "approved"
        return "late" if self.until is not None and now >= self.until else "waiting"

    def sentence(self, now: float) -> str:
        """What is said of it to people."""
        verdict = self.verdict(now)
        if verdict == "refused":
            return refused_by(next(one for one in self.decisions if not one.approves))
        if verdict == "late":
            return TOO_LATE
        who = f" ({', '.join(self.approvers)})" if self.approvers else ""
        if verdict == "approved":
            return f"approved{who}; `tidegate resume {self.run}` releases it"
        until = (
            ""
            if self.until is None
            else f", until {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.until))}"
        )
        return (
            f"it waits for people: {len(self.approvers)} of {self.needed} approved{who}{until}; "
            f"`tidegate approve {self.run}` or `tidegate refuse {self.run}`"
        )


def refused_by(refusal: Decision) -> str:
    """Who refused, and why."""
    return f"refused by {refusal.who}{': ' if refusal.reason else ''}{refusal.reason}"


def find_request(store: Store, run: str) -> Request | None:
    """What is asked about a run, or None."""
    found = store.read(_key(run))
    return None if found is None else Request.model_validate_json(found[0])


def ask(store: Store, request: Request) -> Request:
    """Ask, unless the same is asked already; return what stands there, with what was said so far.

    What nobody answered in time is asked anew.
    """

    def asked(known: Request | None) -> Request:
        if known is None:
            return request
        if known.subject == request.subject and known.verdict(request.asked) != "late":
            return known
        return request.model_copy(update={"events": known.events})

    return _change(store, request.run, asked)


def decide(store: Store, run: str, decision: Decision, event: Event | None = None) -> Request:
    """Add what somebody said, once; what was decided before, or is too late, stays as it is.

    Args:
        store: of the home.
        run: its id.
        decision: it is among the answer's where it was taken.
        event: for the history, written in one step with the decision; `settle_request` gives it its entry.

    Raises:
        PipelineError: nothing is asked about this run, or no more.
    """

    def decided(known: Request | None) -> Request:
        if known is None:
            raise PipelineError(
                f"run {run} waits for nobody; expected a run that does; see `tidegate show {run}`"
            )
        said = any((one.who, one.approves) == (decision.who, decision.approves) for one in known.decisions)
        if said or known.verdict(decision.time) != "waiting":
            return known
        events = known.events if event is None else (*known.events, event)
        return known.model_copy(update={"decisions": (*known.decisions, decision), "events": events})

    return _change(store, run, decided)


def settled(store: Store, run: str, ids: Collection[str]) -> None:
    """These events are in the history."""

    def without(known: Request | None) -> Request | None:
        if known is None:
            return None
        left = tuple(event for event in known.events if event.id not in ids)
        return known.model_copy(update={"events": left})

    _change(store, run, without)


def mark_told(store: Store, request: Request) -> None:
    """Those whom the experiment names were told."""

    def told(known: Request | None) -> Request:
        same = known is not None and known.subject == request.subject
        return (known if same and known is not None else request).model_copy(update={"told": True})

    _change(store, request.run, told)


def withdraw(store: Store, run: str) -> None:
    """Nothing is asked any more; a run that goes on is asked for anew."""
    store.delete(_key(run))


def _change(store: Store, run: str, changed: Callable[[Request | None], Asked]) -> Asked:
    return change(store, _key(run), Request.model_validate_json, changed, f"the approval of run {run}")


def _key(run: str) -> str:
    return f"{KEYS}{run}.json"
