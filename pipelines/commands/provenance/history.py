"""history: who did what to the endpoints and runs of a home, when, from where and why."""

from typing import Any

from tidegate.pipelines.errors import UnknownNameError
from tidegate.pipelines.history.entries import Entry, contents, head_of, listed, problem
from tidegate.pipelines.history.record import NEW, begin, settle
from tidegate.pipelines.promotion.signed_entries import check_signed
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.event import Event

HEADERS = ("", "when (UTC)", "what", "endpoint", "release", "run", "who", "from", "why")


def history(home: Home, endpoint: str | None = None, *, verify: bool = False) -> Result:
    """The entries of the history, the oldest first.

    Args:
        home: whose it is.
        endpoint: only those about this endpoint, which may be deleted; None: all.
        verify: whether no entry was changed, removed or put between.

    Raises:
        UnknownNameError: no entry is about an endpoint of this name.
        StoreError: the store cannot be read.
    """
    # As it is, before this look gives waiting events their entries.
    found = contents(home.store) if verify else {}
    wrong = problem(found, head_of(home.store)) if verify else ""
    if not wrong:
        begin(home)
        settle(home.store)
        found = contents(home.store)
    entries, unknown = listed(found), list[str]()
    if verify and not wrong:
        wrong, unknown = check_signed(home, [entry for entry, _ in entries])
    if endpoint is not None:
        known = {name for entry, _ in entries for name in _endpoints(entry)}
        if endpoint not in known:
            raise UnknownNameError(
                "endpoint", endpoint, known, "`tidegate history` lists what was done to all"
            )
        entries = [one for one in entries if endpoint in _endpoints(one[0])]
    data: dict[str, Any] = {"entries": [row_of(entry, digest) for entry, digest in entries]}
    lines = [table(HEADERS, [_line(entry) for entry, _ in entries])] if entries else ["nothing was done yet"]
    if verify:
        data |= {"verified": not wrong, "problem": wrong, "notes": unknown}
        lines += unknown
        newest = f", the newest is {entries[-1][1]}" if entries and endpoint is None else ""
        lines.append(
            f"NOT as it was written: {wrong}" if wrong else f"{len(found)} entries are as written{newest}"
        )
    return Result(data, "\n".join(lines), 1 if wrong else 0)


def _endpoints(entry: Entry) -> list[str]:
    """The endpoints that an entry is about."""
    return [entry.event.endpoint, *entry.event.facts.get("endpoints", ())]


def row_of(entry: Entry, digest: str) -> dict[str, Any]:
    """An entry as `--json` prints it."""
    event = entry.event.model_dump(mode="json", exclude={"since", "id"})
    return {"number": entry.number, **event, "previous": entry.previous, "digest": digest}


def _line(entry: Entry) -> tuple[object, ...]:
    event = entry.event
    said = [
        _came_from(event),
        event.reason,
        str(event.facts.get("why", "")),
        str(event.facts.get("cause", "")),
    ]
    why = "; ".join(filter(None, said)) or _what_began(entry)
    release = event.facts.get("release")
    return (
        entry.number,
        when(event.time),
        event.kind,
        event.endpoint,
        "" if release is None else release,
        event.run,
        event.actor,
        event.actor.host,
        " ".join(why.split()),
    )


def when(time: str) -> str:
    """An event's time for people, to the second."""
    return time[:19].replace("T", " ")


def _came_from(event: Event) -> str:
    """Where a promoted release came from, and who released it there; "" of any other event."""
    origin = event.facts.get("origin")
    if not origin:
        return ""
    first = next((one for one in origin["history"] if one["kind"] in NEW), None)
    by = "" if first is None else f", by {first['actor']['user']} there"
    why = f": {first['reason']}" if first is not None and first["reason"] else ""
    return f"from {origin['target']}, release {origin['release']}{by}{why}"


def _what_began(entry: Entry) -> str:
    known = entry.event.facts.get("endpoints")
    if not known:
        return ""
    named = ", ".join(
        f"{name} {'/'.join(str(one['release']) for one in found)}" for name, found in known.items()
    )
    return f"this history begins here; released before: {named}"
