"""What people say of a run: each once, whoever says it at the same time, and never of something else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tidegate.pipelines.driver.waiting import NotApprovedError, require_approval
from tidegate.pipelines.errors import PipelineError, RefusedError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.identity import Facts
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.approvals import (
    Decision,
    Request,
    ask,
    decide,
    find_request,
    mark_told,
    withdraw,
)
from tidegate.pipelines.state.home import Home, RunRecord

HOUR = 3600.0


def request(needed: int = 1, until: float | None = None, subject: str = "key") -> Request:
    return Request(run="wine-1", subject=subject, needed=needed, asked=0.0, until=until)


def said(who: str, approves: bool = True, at: float = 1.0) -> Decision:
    return Decision(who=who, time=at, approves=approves, reason="why")


def test_different_people_must_approve(tmp_path: Path) -> None:
    store = Home(tmp_path).store
    ask(store, request(needed=2))
    assert decide(store, "wine-1", said("ann")).verdict(1.0) == "waiting"
    assert decide(store, "wine-1", said("ann")).approvers == ["ann"]
    known = decide(store, "wine-1", said("bob"))
    assert known.verdict(1.0) == "approved"
    assert "approved (ann, bob)" in known.sentence(1.0)
    assert decide(store, "wine-1", said("eve", approves=False)) == known  # it is decided


def test_one_who_refuses_is_enough(tmp_path: Path) -> None:
    store = Home(tmp_path).store
    ask(store, request(needed=2))
    decide(store, "wine-1", said("ann"))
    known = decide(store, "wine-1", said("eve", approves=False))
    assert known.verdict(1.0) == "refused"
    assert known.sentence(1.0) == "refused by eve: why"


def test_time_is_up_for_those_who_come_later(tmp_path: Path) -> None:
    store = Home(tmp_path).store
    ask(store, request(until=HOUR))
    late = decide(store, "wine-1", said("ann", at=HOUR))
    assert late.decisions == ()
    assert late.verdict(HOUR) == "late"
    again = ask(store, request(until=3 * HOUR).model_copy(update={"asked": 2 * HOUR}))
    assert again.until == 3 * HOUR  # asked anew
    early = decide(store, "wine-1", said("ann", at=2 * HOUR))
    assert early.verdict(99 * HOUR) == "approved"  # a decision counts by its own time


def test_the_same_is_asked_once_and_something_else_anew(tmp_path: Path) -> None:
    store = Home(tmp_path).store
    mark_told(store, ask(store, request()))
    decide(store, "wine-1", said("ann"))
    assert ask(store, request()).approvers == ["ann"]
    other = ask(store, request(subject="compared with another champion"))
    assert (other.approvers, other.told) == ([], False)
    withdraw(store, "wine-1")
    assert find_request(store, "wine-1") is None
    with pytest.raises(PipelineError, match="run wine-1 waits for nobody; expected a run that does"):
        decide(store, "wine-1", said("ann"))


def plan(gate: object) -> Plan:
    document = {"name": "wine", "data": {"dataset": "wine"}, "model": {"family": "mlp"}, "gate": gate}
    facts = Facts(data="d", model="", code={}, versions={}, trials=1)
    return Plan("wine-1", validate(document, "here"), facts)


def test_a_candidate_passes_when_nobody_is_asked_or_all_have_approved(tmp_path: Path) -> None:
    home = Home(tmp_path)
    require_approval(home, plan([]), "key")
    asks = plan({"approval": 1, "by": "24h"})
    with pytest.raises(
        NotApprovedError, match=r"0 of 1 approved, until .*; `tidegate approve wine-1` or"
    ) as caught:
        require_approval(home, asks, "key")
    assert caught.value.request.until == pytest.approx(time.time() + 24 * HOUR, abs=60)
    decide(home.store, "wine-1", said("ann", at=time.time()))
    require_approval(home, asks, "key")
    with pytest.raises(NotApprovedError):
        require_approval(home, asks, "another key")
    decide(home.store, "wine-1", said("eve", approves=False, at=time.time()))
    with pytest.raises(RefusedError, match="refused by eve: why"):
        require_approval(home, asks, "another key")


def test_a_run_that_waited_too_long_is_refused_whoever_looks(tmp_path: Path) -> None:
    folder = Home(tmp_path).folder_of("wine-1")
    folder.create()
    known = {"run": "wine-1", "name": "wine", "endpoint": "wine", "created": 1.0, "experiment": {}}
    waits = RunRecord.model_validate({**known, "status": "waiting", "asked": 1.0, "reason": "it waits"})
    folder.write(waits)
    assert folder.read().status == "waiting"
    folder.write(waits.model_copy(update={"until": time.time() + HOUR}))
    assert folder.read().status == "waiting"
    folder.write(waits.model_copy(update={"until": time.time() - 1}))
    late = folder.read()
    assert (late.status, late.reason) == ("refused", "it was not approved in the time that gate.by gives")
