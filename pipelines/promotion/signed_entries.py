"""The history's entry of a promotion, signed with the target's own key: who let the release in, from where, and why."""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any

from tidegate.pipelines.history.entries import Entry
from tidegate.pipelines.signing.keys import current, signing_key, trusted
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.event import Event

PROMOTED = "promoted"  # the kind of these entries
SIGNED = ("bundle", "origin")  # of an event's facts; the others are the entry's place and number


def signed(home: Home, event: Event) -> Event:
    """The event with a signature; as it is where the target has no key.

    Args:
        home: the target's.
        event: of a promotion, with the facts that are signed.
    """
    key = signing_key(home)
    if key is None:
        return event
    value = base64.b64encode(key.sign(_message(event))).decode()
    return event.with_facts(signature={"key": key.public.id, "value": value})


def check_signed(home: Home, entries: Iterable[Entry]) -> tuple[str, list[str]]:
    """The first entry of a promotion that is not as it was signed, or ""; and what cannot be told of others.

    A home always signs its own, so there one without a signature was changed. A cluster's may be from before it had a
    key, so there it is only named.
    """
    # A canary that did worse is an entry of another kind, which nobody signs.
    mine = [one for one in entries if one.event.kind == PROMOTED]
    keys, unknown = trusted(home) if mine else {}, list[str]()
    signs = current(home) if mine else None
    for entry in mine:
        signature = entry.event.facts.get("signature")
        if signature is None:
            if signs is not None and home.target is None:
                return f"entry {entry.number} was changed: it has no signature of key {signs.id}", unknown
            if signs is not None:
                why = "it was changed, or is from before this target had a key"
                unknown.append(f"entry {entry.number} is not signed: {why}")
            continue
        known = keys.get(str(signature.get("key")))
        if known is None:
            unknown.append(
                f"entry {entry.number} is signed with key {signature.get('key')}, which is not trusted here"
            )
        elif not known[0].has_signed(_message(entry.event), _value(signature)):
            return f"entry {entry.number} was changed: key {known[0].id} has not signed it as it is", unknown
    return "", unknown


def _message(event: Event) -> bytes:
    said = event.model_dump(mode="json", include={"kind", "time", "actor", "reason", "endpoint", "run"})
    facts = {name: event.facts.get(name) for name in SIGNED}
    return json.dumps({**said, **facts}, sort_keys=True).encode()


def _value(signature: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(signature.get("value")), validate=True)
    except binascii.Error:
        return b""
