"""Who let a release in, and why, is signed with the target's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.history.entries import Entry
from tidegate.pipelines.promotion.signed_entries import check_signed, signed
from tidegate.pipelines.signing.keys import distrust, rotate
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.event import Actor, Event


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def entry(home: Home) -> Entry:
    """As the store gives it back, with what was added when the release went live."""
    facts = {"bundle": "b" * 64, "origin": {"target": "staging", "release": 7}}
    event = Event(id="1", kind="promoted", time="2026-11-30", actor=Actor(user="ann", host="h"), facts=facts)
    written = Entry(number=3, previous="", event=signed(home, event).with_facts(release=1, before=None))
    return Entry.model_validate_json(written.content)


def test_as_it_was_signed(home: Home) -> None:
    assert check_signed(home, [entry(home)]) == ("", [])


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "another"},
        {"actor": Actor(user="bob", host="h")},
        {"time": "2026-12-01"},
        {"endpoint": "other"},
    ],
)
def test_anything_said_in_another_way(home: Home, change: dict[str, Any]) -> None:
    made = entry(home)
    other = made.model_copy(update={"event": made.event.model_copy(update=change)})
    problem, _ = check_signed(home, [made, other])
    assert problem.startswith("entry 3 was changed: key ")


@pytest.mark.parametrize(
    "facts",
    [
        {"bundle": "c" * 64},
        {"origin": {"target": "staging", "release": 8}},
        {"signature": {"key": "?", "value": "?"}},
    ],
)
def test_another_release(home: Home, facts: dict[str, Any]) -> None:
    made = entry(home)
    if "signature" in facts:  # a damaged one of the right key
        facts = {"signature": {**made.event.facts["signature"], "value": "?"}}
    other = made.model_copy(update={"event": made.event.with_facts(**facts)})
    assert check_signed(home, [other])[0].startswith("entry 3 was changed")


def test_a_key_that_is_trusted_no_more_is_told(home: Home) -> None:
    made = entry(home)
    _, former = rotate(home)
    assert former is not None
    assert check_signed(home, [made]) == ("", [])
    distrust(home, former.id)
    assert check_signed(home, [made]) == (
        "",
        [f"entry 3 is signed with key {former.id}, which is not trusted here"],
    )


def test_a_canary_that_did_worse_is_an_entry_that_nobody_signs(home: Home) -> None:
    made = entry(home)
    refused = made.model_copy(update={"event": made.event.turned("refused", why="slow")})
    assert check_signed(home, [refused]) == ("", [])
