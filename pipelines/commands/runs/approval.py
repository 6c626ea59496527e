"""approve, refuse: what people say about a run that waits for them."""

import time
from typing import Any

from tidegate.pipelines.commands.submit import resume
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.history.actors import actor_of
from tidegate.pipelines.history.record import checked_reason, new_event, settle_request
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.approvals import Decision, Request, decide, find_request, refused_by
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import refresh


def approve(home: Home, run: str, *, message: str | None = None, detach: bool = False) -> Result:
    """Approve what a run would release; with the last approval that it needs, it goes on to its release.

    Args:
        home: the home.
        run: the run's id, or an experiment's name for its newest run.
        message: why.
        detach: leave the rest of the run in the background and return at once.

    Raises:
        UnknownNameError: no such run.
        UsageError: it does not wait for anybody.
        StepError: the release failed; what was said stands, and `tidegate resume RUN` goes on.
    """
    return _decide(home, run, True, checked_reason(message), detach)


def refuse(home: Home, run: str, *, message: str | None = None, detach: bool = False) -> Result:
    """Refuse what a run would release: the run ends, and the live endpoint stays as it was.

    Args:
        home, run, message, detach: see `approve`.

    Raises:
        UnknownNameError: no such run.
        UsageError: it does not wait for anybody.
    """
    return _decide(home, run, False, checked_reason(message), detach)


def _decide(home: Home, name: str, approves: bool, reason: str, detach: bool) -> Result:
    refresh(home, name)
    folder = home.newest_run(name)
    run, record, now = folder.run, folder.read(), time.time()
    request = find_request(home.store, run)
    word = "approved" if approves else "refused"
    if record.status != "waiting" or request is None:
        why = f": {record.reason}" if record.reason else ""
        raise UsageError(
            f"run {run} is {record.status}{why}; only one that waits for an approval can be {word}; `tidegate runs "
            "--status waiting` lists them"
        )
    who = actor_of(home)
    decision = Decision(who=who.user, time=now, approves=approves, reason=reason)
    facts: dict[str, Any] = {} if approves else {"why": refused_by(decision)}
    # Written in one step with the decision, so that each decision that counts has one entry.
    event = new_event(home, word, endpoint=record.endpoint, run=run, reason=reason, actor=who, **facts)
    request = decide(home.store, run, decision, event)
    settle_request(home.store, run)
    verdict, taken = request.verdict(now), decision in request.decisions
    if verdict == "waiting":
        return _still_waits(request, now, "" if taken else f"{who.user} has approved it already; ")
    if not taken and verdict != word:
        raise UsageError(
            f"run {run}: it cannot be {word} any more: {request.sentence(now)}; expected one that waits for an answer; "
            f"see `tidegate show {run}`"
        )
    result = resume(home, run, detach=detach, only_waiting=True)
    ended = 0 if result.data["status"] == "refused" and not approves else result.exit_code
    return Result(result.data, result.text, ended)


def _still_waits(request: Request, now: float, before: str) -> Result:
    data = {"run": request.run, "status": "waiting", "approvers": request.approvers, "needed": request.needed}
    return Result(data, f"run {request.run}: {before}{request.sentence(now)}")
