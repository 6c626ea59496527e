"""signing: the keys that sign releases."""

from pathlib import Path
from typing import Any

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import current, distrust, rotate, trust, trusted
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.trust import SUFFIX

MAKE = "`tidegate signing rotate --target {}` makes one (an administrator: it writes a Secret)"
WHAT = {"trust": "a public key's PEM file", "distrust": "a key's id, as `tidegate signing list` has it"}


def signing(home: Home, do: str, what: str | None = None) -> Result:
    """List the keys of a home or a cluster, or change them.

    Args:
        home: the home.
        do: list, rotate, trust or distrust.
        what: of trust the file of a public key, of distrust a key's id; else None.

    Raises:
        UsageError: an argument is missing, or one too many; a file is no key; the home's own key may be read by others.
        UnknownNameError: no trusted key has this id.
    """
    if (what is not None) != (do in WHAT):
        received = "nothing" if what is None else repr(what)
        raise UsageError(f"signing {do}: received {received}; expected {WHAT.get(do, 'no further argument')}")
    if do == "rotate":
        made, before = rotate(home)
        note = f"; {before.id} signs no more, and what it has signed is still trusted" if before else ""
        return Result(
            {"key": made.id, "before": before and before.id}, f"key {made.id} signs from now on{note}"
        )
    if do == "trust":
        key = trust(home, Path(what or ""))
        return Result({"key": key.id, "trusted": True}, f"key {key.id} is trusted")
    if do == "distrust":
        return _distrusted(home, what or "")
    return _listed(home)


def _distrusted(home: Home, key: str) -> Result:
    gone = distrust(home, key)
    found = [state.release(state.current or 0) for state in known_endpoints(home)]
    live = [release for release in found if release.signed_by == gone.id]
    named = ", ".join(f"release {release.number} of {release.endpoint}" for release in live)
    note = f"; {named} will not start again: release anew" if live else ""
    data = {"key": gone.id, "trusted": False, "releases": [[one.endpoint, one.number] for one in live]}
    return Result(data, f"key {gone.id} is trusted no more{note}")


def _listed(home: Home) -> Result:
    signs, rows = current(home), list[dict[str, Any]]()
    for key, since in trusted(home).values():
        path = str(trusted_folder(home) / f"{key.id}{SUFFIX}")
        rows.append(
            {"key": key.id, "signs": signs is not None and signs.id == key.id, "since": since, "file": path}
        )
    rows.sort(key=lambda row: (not row["signs"], row["since"]))
    lines = [(row["key"], "signs" if row["signs"] else "trusted", row["since"], row["file"]) for row in rows]
    none = "no key yet: the first release makes one"
    if home.target is not None:
        none = f"no key yet, so releases are not signed; {MAKE.format(home.target.name)}"
    return Result(rows, table(("key", "", "since (UTC)", "file"), lines) if lines else none)
