"""Who let a release in, and why, is signed with the target's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.pods.signing import TRUSTED
from tidegate.pipelines.history.entries import Entry
from tidegate.pipelines.promotion.signed_entries import check_signed, signed
from tidegate.pipelines.signing.cluster_keys import SIGNS
from tidegate.pipelines.signing.keys import distrust, rotate
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target
from tidegate.serving.bundle.signature import PrivateKey, PublicKey
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


def unsigned(entry: Entry) -> Entry:
    facts = {name: value for name, value in entry.event.facts.items() if name != "signature"}
    return entry.model_copy(update={"event": entry.event.model_copy(update={"facts": facts})})


def test_without_its_signature_it_was_changed(home: Home) -> None:
    made = entry(home)
    problem, _ = check_signed(home, [made, unsigned(made)])
    assert problem.startswith("entry 3 was changed: it has no signature")


class Trusting:
    """A cluster with the ConfigMap of its keys."""

    def __init__(self, key: PublicKey | None) -> None:
        self._key = key

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        assert (kind, name) == ("ConfigMap", TRUSTED)
        if self._key is None:
            return None
        data = {f"{self._key.id}.pub": self._key.pem.decode()}
        return {"metadata": {"annotations": {SIGNS: self._key.id}}, "data": data}


@pytest.mark.parametrize("has_key", [False, True])
def test_a_cluster_names_what_may_be_from_before_it_had_a_key(
    home: Home, tmp_path: Path, has_key: bool
) -> None:
    document = {"name": "far", "store": {"url": "s3://bucket/far"}, "mlflow": "http://h"}
    far = Home(tmp_path / "far", Target.model_validate(document))
    far.__dict__["cluster"] = Trusting(PrivateKey.new().public if has_key else None)
    said = (
        ["entry 3 is not signed: it was changed, or is from before this target had a key"] if has_key else []
    )
    assert check_signed(far, [unsigned(entry(home))]) == ("", said)


def test_a_canary_that_did_worse_is_an_entry_that_nobody_signs(home: Home) -> None:
    made = entry(home)
    refused = made.model_copy(update={"event": made.event.turned("refused", why="slow")})
    assert check_signed(home, [refused]) == ("", [])
