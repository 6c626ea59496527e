"""What was done gets its entry, whenever a process is killed; a home of before says that it is older."""

from __future__ import annotations

import os
import pwd
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.released import PROOF
from tidegate.infra.errors import ConflictError, StoreError
from tidegate.infra.store import FolderStore
from tidegate.pipelines.commands.provenance.history import history
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.history.actors import on_behalf
from tidegate.pipelines.history.entries import contents, parsed
from tidegate.pipelines.history.record import WAITING, new_event, record, settle, settle_endpoint
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.step_types.release import PromoteInputs
from tidegate.pipelines.steps import promote as promote_step
from tidegate.pipelines.steps.context import StepContext
from tidegate.serving.deployment.event import Actor, Event
from tidegate.serving.deployment.release import deleted, load, promote, reserve, update

FACTS: dict[str, Any] = {"trial": "t", "bundle": "b" * 64, "bento": "wine:1"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def release(home: Home, run: str, event: Event | None, name: str = "wine") -> int:
    made = partial(reserve, run=run, key=run, **FACTS, runtime="onnx", parity=PROOF)
    number = update(home.store, name, made, ConflictError).releases[-1].number
    update(home.store, name, lambda state: promote(state, number, event), ConflictError)
    return number


def released(home: Home, run: str) -> int:
    return release(home, run, new_event(home, "released", endpoint="wine", run=run, reason=f"for {run}"))


def told(home: Home) -> list[tuple[str, str, Any]]:
    found = filter(None, map(parsed, contents(home.store).values()))
    return [(entry.event.kind, entry.event.run, entry.event.facts.get("release")) for entry in found]


def test_a_release_is_in_the_history_though_its_process_was_killed(home: Home) -> None:
    """The pointer has moved, and nothing was written to the history yet."""
    released(home, "wine-1")
    assert contents(home.store) == {}
    assert [event.kind for event in load(home.store, "wine").events] == ["released"]
    settle(home.store)
    assert told(home) == [("released", "wine-1", 1)]
    assert b"events" not in (home.store.read("endpoints/wine.json") or (b"events", ""))[0]
    settle(home.store)
    assert told(home) == [("released", "wine-1", 1)]


class Dies(FolderStore):
    """A store whose process is killed before the write number `after`, from 0."""

    after = 10**9

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        self._count()
        return super().write(key, content, etag)

    def delete(self, key: str) -> None:
        self._count()
        super().delete(key)

    def _count(self) -> None:
        if self.after == 0:
            raise KeyboardInterrupt
        self.after -= 1


@pytest.mark.parametrize("after", range(10))
def test_a_kill_at_any_write_loses_nothing_and_repeats_nothing(tmp_path: Path, after: int) -> None:
    home = Home(tmp_path / "home")
    released(home, "wine-1")
    settle(home.store)
    store = Dies(tmp_path / "home" / "store")
    store.after = after
    home.__dict__["store"] = store
    done = []
    try:
        released(home, "wine-2")
        done.append("released")
        settle_endpoint(store, "wine")
        record(home, "refused", run="wine-3", endpoint="wine")
        done.append("refused")
    except KeyboardInterrupt:
        pass
    store.after = 10**9
    moved = load(store, "wine").current == 2
    settle(store)
    kinds = [kind for kind, run, _ in told(home) if run != "wine-1"]
    assert kinds[:1] == (["released"] if moved else [])  # an entry for what was done, and for nothing else
    assert kinds.count("refused") <= 1
    assert set(done) <= set(kinds)
    assert store.keys(WAITING) == []
    assert history(home, verify=True).exit_code == 0


def test_promoters_at_once_make_one_chain(home: Home) -> None:
    def walk(number: int) -> None:
        own = Home(home.path)
        for again in range(3):
            released(own, f"wine-{number}-{again}")
            settle_endpoint(own.store, "wine")

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = [run for _, run, _ in told(home)]
    assert sorted(runs) == sorted(f"wine-{number}-{again}" for number in range(4) for again in range(3))
    assert history(home, verify=True).data["verified"] is True
    assert {known.run for known in load(home.store, "wine").releases} == set(runs)


def test_a_home_of_before_begins_with_an_entry_that_says_so(home: Home) -> None:
    release(home, "wine-1", None)
    release(home, "wine-2", None)
    assert history(home).data["entries"][0]["facts"]["endpoints"]["wine"][0]["run"] == "wine-1"
    assert told(home) == [("began", "", None)]
    assert "released before: wine 1/2" in history(home, "wine").text
    released(home, "wine-3")
    settle(home.store)
    assert told(home) == [("began", "", None), ("released", "wine-3", 3)]


def test_the_first_thing_done_in_a_home_of_before_comes_second(home: Home) -> None:
    release(home, "wine-1", None)
    update(
        home.store, "wine", partial(deleted, event=new_event(home, "deleted", endpoint="wine")), ConflictError
    )
    release(home, "prices-1", None, "prices")
    released(home, "wine-2")
    settle(home.store)
    kinds = [kind for kind, *_ in told(home)]
    assert kinds == ["began", "deleted", "released"]
    assert [*history(home).data["entries"][0]["facts"]["endpoints"]] == ["prices"]


def test_a_new_home_has_no_history(home: Home) -> None:
    assert history(home).data == {"entries": []}
    assert history(home, verify=True).text == "nothing was done yet\n0 entries are as written"
    with pytest.raises(UnknownNameError, match='no endpoint "wine" here'):
        history(home, "wine")


def test_what_is_told_of_an_endpoint(home: Home) -> None:
    released(home, "wine-1")
    released(home, "wine-2")
    settle(home.store)
    record(home, "approved", endpoint="prices", run="prices-1", reason="  two people\nlooked ", by="audit")
    told = history(home, "prices").data["entries"]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert [(one["number"], one["kind"], one["facts"], one["actor"]["user"]) for one in told] == [
        (3, "approved", {"by": "audit"}, user)
    ]
    assert told[0]["reason"] == "two people\nlooked"
    assert "two people looked" in history(home).text.splitlines()[3]
    second = history(home, "wine").data["entries"][1]
    assert (second["facts"]["before"], second["facts"]["release"], second["reason"]) == (1, 2, "for wine-2")
    assert second["previous"] == history(home).data["entries"][0]["digest"]
    with pytest.raises(UnknownNameError, match='did you mean "wine"'):
        history(home, "wines")


def test_verify_names_what_was_changed_and_mends_nothing(home: Home) -> None:
    released(home, "wine-1")
    settle(home.store)
    released(home, "wine-2")  # it waits
    path = home.path / "store" / "docs" / "history" / "entries" / "00000001.json"
    path.write_text(path.read_text().replace("for wine-1", "for nobody"))
    found = history(home, verify=True)
    assert found.exit_code == 1
    assert found.data["problem"].startswith("entry 1 was changed")
    assert "NOT as it was written: entry 1" in found.text
    assert told(home) == [("released", "wine-1", 1)]


def test_a_store_that_cannot_be_written(home: Home) -> None:
    (home.path / "store").write_text("a file")
    with pytest.raises(StoreError):
        record(home, "approved", run="wine-1")


def test_a_reason_has_a_limit(home: Home) -> None:
    with pytest.raises(UsageError, match="-m has 2001 characters; expected 2000 at most"):
        record(home, "approved", reason="x" * 2001)
    assert contents(home.store) == {}


def test_whoever_asked_is_named_and_whoever_did_it_for_them(home: Home) -> None:
    here = on_behalf(None, home)
    assert here.through == ""
    assert on_behalf(here, home) == here
    asked = Actor(user="ada@example.org", host="laptop")
    assert str(on_behalf(asked, home)) == f"ada@example.org through {here.user}"


def test_a_release_is_told_with_what_its_run_was_asked_for(home: Home, tmp_path: Path) -> None:
    folder = home.folder_of("wine-1")
    inputs = PromoteInputs(run="wine-1", endpoint="wine", release=1, champion=None)
    context = StepContext(home, folder, "promote-1", "k", tmp_path)
    nobody = promote_step._event(inputs, context)  # its record is gone
    assert (nobody.reason, nobody.actor.through) == ("", "")
    folder.create()
    record = {"run": "wine-1", "name": "wine", "endpoint": "wine", "status": "running", "created": 0.0}
    asked = {
        "by": {"user": "ada@example.org", "host": "laptop"},
        "message": "as agreed",
        "cause": "wine cron 7",
    }
    folder.write(RunRecord.model_validate({**record, **asked, "experiment": {}}))
    told = promote_step._event(inputs, context)
    assert (told.kind, told.reason, told.actor.user, told.facts) == (
        "released",
        "as agreed",
        "ada@example.org",
        {"cause": "wine cron 7"},
    )
    assert told.actor.through == nobody.actor.user
