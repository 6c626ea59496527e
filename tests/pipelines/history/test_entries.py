"""The history on each store: many writers make one chain, and what was changed in it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.store import Store, open_store
from tidegate.pipelines.history.entries import (
    ENTRIES,
    HEAD,
    append,
    contents,
    digest_of,
    head_of,
    key_of,
    parsed,
    problem,
)
from tidegate.serving.deployment.event import Actor, Event, new_id

STORES: dict[str, Callable[[Path], str | Path]] = {
    "folder": lambda root: root,
    "s3": lambda root: f"s3://tidegate/{root.parent.name}",
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        request.getfixturevalue("s3")
    return open_store(STORES[request.param](tmp_path / "store"), cache=tmp_path / "cache")


def event(reason: str = "", since: int = 0, **fields: Any) -> Event:
    actor = Actor(user="ada", host="laptop")
    kind, time = "released", "2026-11-29T20:00:00.000+00:00"
    return Event(id=new_id(), kind=kind, time=time, actor=actor, reason=reason, since=since, **fields)


def reasons(store: Store) -> list[str]:
    return [entry.event.reason for content in contents(store).values() if (entry := parsed(content))]


def test_each_entry_has_the_digest_of_the_one_before(store: Store) -> None:
    first, second = append(store, event("one")), append(store, event("two", since=1))
    assert [first.number, first.previous, second.number] == [1, "", 2]
    assert second.previous == digest_of(first.content) == first.digest
    assert (head_of(store).number, head_of(store).digest) == (2, second.digest)
    assert contents(store) == {1: first.content, 2: second.content}
    assert problem(contents(store), head_of(store)) == ""


def test_an_event_gets_one_entry_however_often_it_is_written(store: Store) -> None:
    """As after a kill between the entry and the document in which the event waits."""
    waiting = event("once")
    first = append(store, waiting)
    append(store, event("another", since=1))
    assert append(store, waiting) == first
    assert reasons(store) == ["once", "another"]


def test_a_head_that_lags_behind_is_made_up_for(store: Store) -> None:
    for number in range(3):
        append(store, event(str(number)))
    found = store.read(HEAD)
    assert found is not None
    store.write(HEAD, json.dumps({"number": 1, "digest": ""}).encode(), found[1])  # its writer was killed
    append(store, event("next", since=1))
    assert reasons(store) == ["0", "1", "2", "next"]
    assert (problem(contents(store), head_of(store)), head_of(store).number) == ("", 4)


def test_many_writers_at_once_make_one_chain(store: Store, tmp_path: Path) -> None:
    """Each event is written by two of them, as a promoter and whoever looks at the same time do."""
    events = [event(str(number)) for number in range(8)]
    del tmp_path

    def write(one: Event) -> int:
        return append(store, one).number

    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(write, [*events, *reversed(events)]))
    assert numbers[:8] == numbers[:7:-1]  # both writers of an event got the same entry
    assert sorted(numbers[:8]) == list(range(1, 9))
    assert sorted(reasons(store)) == [str(number) for number in range(8)]
    assert problem(contents(store), head_of(store)) == ""


def five(store: Store) -> None:
    for number in range(1, 6):
        append(store, event(f"number {number}", since=number - 1))


def replace(store: Store, number: int, content: bytes) -> None:
    store.delete(key_of(number))
    store.write(key_of(number), content, None)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_changed_entry_is_named(store: Store, number: int) -> None:
    five(store)
    replace(store, number, contents(store)[number].replace(b"ada", b"bob"))
    assert problem(contents(store), head_of(store)).startswith(f"entry {number} was changed or put there")


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_removed_entry_is_named(store: Store, number: int) -> None:
    five(store)
    store.delete(key_of(number))
    assert problem(contents(store), head_of(store)) == f"entry {number} is missing: it was removed"
    append(store, event("later", since=number - 1))  # does not take the free number
    assert problem(contents(store), head_of(store)) == f"entry {number} is missing: it was removed"


def test_an_entry_put_between_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    five(store)
    known = contents(store)
    second, third = parsed(known[2]), parsed(known[3])
    assert second and third
    forged = third.model_copy(update={"event": event("never"), "previous": second.digest})
    for number in (5, 4, 3):
        moved = parsed(known[number])
        assert moved
        store.delete(key_of(number + 1))
        store.write(key_of(number + 1), moved.model_copy(update={"number": number + 1}).content, None)
    replace(store, 3, forged.content)
    assert problem(contents(store), head_of(store)).startswith("entry 3 was changed or put there")


def test_what_is_no_entry_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    five(store)
    replace(store, 2, b"{}")
    assert problem(contents(store), head_of(store)) == "entry 2 was changed: it is no entry any more"
    replace(store, 2, contents(store)[3])
    assert problem(contents(store), head_of(store)) == "entry 2 was put there: it says that it is entry 3"
    store.write(f"{ENTRIES}notes.json", b"{}", None)
    assert set(contents(store)) == {1, 2, 3, 4, 5}
