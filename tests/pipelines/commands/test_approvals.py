"""What people say of a run is decided first and has one entry; what they refused is asked anew by a submit alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.commands.runs.approval import approve, refuse
from tidegate.pipelines.commands.runs.decided import ask_anew, require_waiting
from tidegate.pipelines.commands.submit import begin_detached, resume
from tidegate.pipelines.driver.waiting import require_approval
from tidegate.pipelines.errors import RefusedError, UsageError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.history.entries import contents, parsed
from tidegate.pipelines.history.record import new_event, record_refused, settle
from tidegate.pipelines.planning.identity import Facts
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.approvals import Decision, Request, ask, decide, find_request
from tidegate.pipelines.state.home import Home, RunFolder, RunRecord


def waits(home: Home, needed: int = 1, until: float | None = None, status: str = "waiting") -> RunFolder:
    folder = home.folder_of("wine-1")
    folder.create()
    record = {"run": "wine-1", "name": "wine", "endpoint": "wine", "status": status, "created": 1.0}
    folder.write(RunRecord.model_validate(record | {"asked": 1.0, "until": until, "experiment": {}}))
    ask(home.store, Request(run="wine-1", subject="key", needed=needed, asked=1.0, until=until))
    return folder


def plan() -> Plan:
    document: dict[str, Any] = {
        "name": "wine",
        "data": {"dataset": "wine"},
        "model": {"family": "mlp"},
        "gate": [{"approval": 1}],
    }
    return Plan(
        "wine-1", validate(document, "here"), Facts(data="d", model="", code={}, versions={}, trials=1)
    )


def entries(home: Home) -> list[tuple[str, str]]:
    found = [parsed(content) for content in contents(home.store).values()]
    return [(entry.event.kind, entry.event.reason) for entry in found if entry is not None]


def says(home: Home, who: str, approves: bool, reason: str) -> Request:
    decision = Decision(who=who, time=time.time(), approves=approves, reason=reason)
    event = new_event(home, "approved" if approves else "refused", run="wine-1", reason=reason)
    return decide(home.store, "wine-1", decision, event)


def test_who_approves_again_is_told_so_and_has_one_entry(tmp_path: Path) -> None:
    home = Home(tmp_path)
    waits(home, needed=2)
    assert "has approved it already" not in approve(home, "wine-1", message="fine").text
    for _ in range(2):
        assert "has approved it already; it waits for people: 1 of 2" in approve(home, "wine-1").text
    assert entries(home) == [("approved", "fine")]


def test_what_comes_after_a_refusal_is_not_taken_and_has_no_entry(tmp_path: Path) -> None:
    home = Home(tmp_path)
    waits(home)
    says(home, "bob", False, "no")
    with pytest.raises(UsageError, match="cannot be approved any more: refused by bob: no"):
        approve(home, "wine-1", message="fine")
    assert entries(home) == [("refused", "no")]


def test_what_comes_after_an_approval_is_not_taken(tmp_path: Path) -> None:
    home = Home(tmp_path)
    waits(home)
    says(home, "ann", True, "fine")
    with pytest.raises(UsageError, match=r"cannot be refused any more: approved \(ann\)"):
        refuse(home, "wine-1", message="no")
    assert entries(home) == [("approved", "fine")]


def test_what_was_said_has_its_entry_though_the_process_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    waits(home, needed=2)
    says(home, "ann", True, "fine")  # and killed before `settle_request`
    assert entries(home) == []
    again = ask(home.store, Request(run="wine-1", subject="another", needed=2, asked=2.0))
    assert (len(again.events), again.decisions) == (1, ())
    for _ in range(2):
        settle(home.store)
    assert entries(home) == [("approved", "fine")]
    known = find_request(home.store, "wine-1")
    assert known is not None
    assert known.events == ()


def test_what_was_approved_in_time_is_not_late_whenever_it_is_looked_at(tmp_path: Path) -> None:
    home, until = Home(tmp_path), time.time() + 0.3
    folder = waits(home, until=until)
    says(home, "ann", True, "fine")
    time.sleep(0.4)
    assert folder.read().status == "waiting"  # whoever approves or resumes it goes on to its release
    other = Home(tmp_path / "other")
    assert waits(other, until=until).read().status == "refused"


def test_a_refusal_stays_until_a_submit_and_is_written_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    waits(home, status="refused")
    says(home, "bob", False, "no")
    settle(home.store)
    with pytest.raises(RefusedError, match="refused by bob: no") as caught:
        require_approval(home, plan(), "key")
    record_refused(home, home.run_folder("wine-1").read(), caught.value)
    assert begin_detached(home, plan(), "wine cron 2026-11-30T03:00:00+00:00") is False
    with pytest.raises(UsageError, match=r"wine-1 was refused by bob: no; .* submit the experiment again"):
        resume(home, "wine-1")
    assert entries(home) == [("refused", "no")]
    ask_anew(home, "wine-1")
    assert find_request(home.store, "wine-1") is None
    assert entries(home) == [("refused", "no")]


def test_what_was_cancelled_after_its_approval_is_not_gone_on_with(tmp_path: Path) -> None:
    home = Home(tmp_path)
    require_waiting(waits(home).read())
    with pytest.raises(UsageError, match="wine-1 was cancelled meanwhile"):
        require_waiting(waits(home, status="cancelled").read())
