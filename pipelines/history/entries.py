"""The entries of a history: documents of the store that are written once and never changed.

`history/entries/00000001.json` and so on, each with the SHA-256 of the one before. A number is taken by whoever writes
its document first, so two writers never continue the same entry. `history/head.json` says which entry was the newest
one when it was last written; it may lag behind, and tells whether the newest ones were taken away.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Store
from tidegate.serving.deployment.event import Event

ENTRIES, HEAD = "history/entries/", "history/head.json"


class Entry(BaseModel):
    """One entry: its number from 1, the SHA-256 (hex) of the entry before it ("" for the first), and the event."""

    model_config = ConfigDict(defer_build=True, frozen=True)
    number: int
    previous: str
    event: Event

    @property
    def content(self) -> bytes:
        """The document."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the document."""
        return digest_of(self.content)


class Head(BaseModel):
    """The newest entry, when this was written: its number, 0 for none, and its digest."""

    model_config = ConfigDict(defer_build=True, frozen=True)
    number: int = 0
    digest: str = ""


def digest_of(content: bytes) -> str:
    """SHA-256 (hex) of an entry's document."""
    return hashlib.sha256(content).hexdigest()


def key_of(number: int) -> str:
    """The document of an entry."""
    return f"{ENTRIES}{number:08d}.json"


def parsed(content: bytes) -> Entry | None:
    """An entry from its document; None when it is none."""
    try:
        return Entry.model_validate_json(content)
    except ValidationError:
        return None


def listed(known: dict[int, bytes]) -> list[tuple[Entry, str]]:
    """The entries in these documents, each with the digest of its document."""
    return [(entry, digest_of(content)) for content in known.values() if (entry := parsed(content))]


def head_of(store: Store) -> Head:
    """The head as it is; of a damaged document as if there were none."""
    return _head_in(store.read(HEAD))


def _head_in(found: tuple[bytes, str] | None) -> Head:
    try:
        return Head() if found is None else Head.model_validate_json(found[0])
    except ValidationError:
        return Head()


def append(store: Store, event: Event, first: Callable[[], Event | None] = lambda: None) -> Entry:
    """Write an event as the next entry, unless it has one already; return its entry.

    Any number of processes may do this at once, with the same event too.

    Args:
        store: where the history is.
        event: what was done.
        first: makes the event that comes before all others, if there is one; called where there is no entry yet.

    Raises:
        StoreError: the store cannot be read or written.
    """
    head = head_of(store)
    number, previous = event.since, _digest_at(store, event.since, head)
    while True:
        number += 1
        found = store.read(key_of(number))
        if found is not None:
            entry = parsed(found[0])
            if entry is not None and entry.event.id == event.id:
                return entry
            previous = digest_of(found[0])
        elif number <= head.number:  # it was taken away, and its number stays free for whoever looks for it
            previous = ""
        else:
            written = _write(store, number, previous, (first() if number == 1 else None) or event)
            if written is None or written.event.id != event.id:
                number -= 1  # somebody's entry, or the first one, has this number now
            else:
                return written


def write_first(store: Store, event: Event) -> None:
    """Write the first entry, unless there is one."""
    _write(store, 1, "", event)


def _write(store: Store, number: int, previous: str, event: Event) -> Entry | None:
    entry = Entry(number=number, previous=previous, event=event)
    try:
        store.write(key_of(number), entry.content, None)
    except ConflictError:
        return None
    advance(store, Head(number=number, digest=entry.digest))
    return entry


def advance(store: Store, head: Head) -> None:
    """Let the head be this one, unless it is further already."""
    while True:
        found = store.read(HEAD)
        if _head_in(found).number >= head.number:
            return
        try:
            store.write(HEAD, head.model_dump_json().encode(), found and found[1])
        except ConflictError:
            continue
        return


def _digest_at(store: Store, number: int, head: Head) -> str:
    found = store.read(key_of(number)) if number else None
    if found is not None:
        return digest_of(found[0])
    return head.digest if number and number == head.number else ""


def contents(store: Store) -> dict[int, bytes]:
    """The documents of all entries, by number."""
    numbers = {key: _number(key) for key in store.keys(ENTRIES)}
    found = store.read_many(key for key, number in numbers.items() if number)
    return {numbers[key]: content for key, (content, _) in sorted(found.items())}


def _number(key: str) -> int:
    """The number in an entry's key; 0 for a document that is none."""
    name = key.removeprefix(ENTRIES).removesuffix(".json")
    return int(name) if name.isdigit() and key_of(int(name)) == key else 0


def problem(known: dict[int, bytes], head: Head) -> str:
    """The first entry that is not as it was written, in a sentence; "" when all are.

    Args:
        known: the documents by number.
        head: what was known of the newest one.
    """
    newest = max([*known, head.number], default=0)
    for number in range(1, newest + 1):
        content = known.get(number)
        if content is None:
            return f"entry {number} is missing: it was removed"
        entry = parsed(content)
        if entry is None:
            return f"entry {number} was changed: it is no entry any more"
        if entry.number != number:
            return f"entry {number} was put there: it says that it is entry {entry.number}"
        if number == 1 and entry.previous:
            return "entry 1 is not the first one: it names an entry before it, which was removed"
        said = _said(known, head, number)
        if said is not None and said != digest_of(content):
            return f"entry {number} was changed or put there: what comes after it names another one"
    return ""


def _said(known: dict[int, bytes], head: Head, number: int) -> str | None:
    """The digest that the next entry, or the head, has of an entry; None where nothing says it."""
    following: Any = known.get(number + 1)
    if following is not None:
        entry = parsed(following)
        return None if entry is None or entry.number != number + 1 else entry.previous
    return head.digest if head.number == number else None
