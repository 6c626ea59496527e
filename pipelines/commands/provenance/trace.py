"""trace: where a release comes from, each part by its SHA-256."""

from typing import Any

from tidegate.pipelines.commands.provenance.history import row_of, when
from tidegate.pipelines.history.entries import Entry, contents, listed
from tidegate.pipelines.history.record import NEW, is_about, settle
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import trusted
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.package import PROVED_BY
from tidegate.serving.bundle.bundle import CHAIN, MODEL, Bundle, open_bundle
from tidegate.serving.bundle.chain import Chain, read_chain
from tidegate.serving.bundle.trust import check_trusted
from tidegate.serving.deployment.event import Actor
from tidegate.serving.deployment.release import EndpointState, Release
from tidegate.serving.errors import BundleError

SHOWN = 16  # hexadecimal digits of a digest, for people; --json has all
UNKNOWN = "not known: an earlier version released it"


def trace(home: Home, name: str, *, release: int | None = None) -> Result:
    """Data -> code -> lock -> weights -> parity -> gate -> signature -> who -> release, with digests.

    Args:
        home: the home.
        name: the endpoint.
        release: its number; None: the live one.

    Returns:
        Exit code 1 when the release is signed and its signature or chain is wrong.

    Raises:
        UnknownNameError: no such endpoint.
        ReleaseError: no such release.
        BundleError, InfraError: its bundle is gone, or was changed.
    """
    state = require_endpoint(home, name)
    found = state.release(state.current or 0 if release is None else release)
    bundle = open_bundle(fetch_bundle(home, found.bundle), found.bundle)
    chain = read_chain((bundle.folder / CHAIN).read_bytes()) if CHAIN in bundle.manifest.files else None
    (entry, digest), problem = _entry(home, state, found), _problem(home, found, bundle)
    data: dict[str, Any] = {
        "endpoint": name,
        "release": found.number,
        "state": found.state,
        "run": found.run,
        "bundle": found.bundle,
        "model": {"file": bundle.model.name, "digest": bundle.manifest.files[MODEL[found.runtime]].digest},
        "chain": None if chain is None else chain.model_dump(mode="json"),
        "signature": {
            "key": found.signed_by,
            "valid": bool(found.signed_by) and not problem,
            "problem": problem,
        },
        "history": None if entry is None else row_of(entry, digest),
        "origin": None if found.origin is None else found.origin.model_dump(mode="json"),
    }
    rows = [*_made(chain, bundle), *_released(found, entry, digest, problem)]
    return Result(data, table(("", "", ""), rows).strip("\n"), 1 if problem else 0)


def _problem(home: Home, release: Release, bundle: Bundle) -> str:
    """Why the release would not start; "" for one that would, or that was never signed."""
    if not release.signed_by:
        return ""
    if home.target is not None:
        trusted(home)  # the files that are checked with are a copy
    try:
        check_trusted(bundle, trusted_folder(home))
    except BundleError as error:
        return str(error)
    return ""


def _entry(home: Home, state: EndpointState, release: Release) -> tuple[Entry | None, str]:
    """The history's entry of the release, and its digest; None and "" of one that is older than the history."""
    settle(home.store)
    for entry, digest in listed(contents(home.store)):
        if entry.event.kind in NEW and is_about(entry.event, state, release.number):
            return entry, digest
    return None, ""


def _made(chain: Chain | None, bundle: Bundle) -> list[tuple[object, ...]]:
    """From the data to the gate."""
    manifest = bundle.manifest
    if chain is None:
        weights = ("weights", bundle.model.name, manifest.files[bundle.model.name].digest[:SHOWN])
        parity = ("parity", "", _parity(manifest.parity, manifest.proof, 0))
        return [
            *((name, "", UNKNOWN) for name in ("data", "code", "lock")),
            weights,
            parity,
            ("gate", "", UNKNOWN),
        ]
    rows: list[tuple[object, ...]] = [("data", "source", chain.data.source[:SHOWN])]
    rows += [("", f"split.{part}", digest[:SHOWN]) for part, digest in chain.data.parts.items()]
    rows += [("", name.rstrip("_"), digest[:SHOWN]) for name, digest in chain.data.prepared.items()]
    code = [(step, digest[:SHOWN]) for step, digest in chain.code.steps.items()]
    code += [("your project", chain.code.project[:SHOWN])] if chain.code.project else []
    locks = [
        (step, ", ".join(map(" ".join, versions.items()))) for step, versions in chain.lock.versions.items()
    ]
    locks += [("your project", chain.lock.project[:SHOWN])] if chain.lock.project else []
    files = [(name, digest[:SHOWN]) for name, digest in chain.weights.items()]
    for name, found in (("code", code), ("lock", locks), ("weights", files)):
        rows += [(name if place == 0 else "", *row) for place, row in enumerate(found)]
    return [*rows, *_checked(chain)]


def _checked(chain: Chain) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    if chain.parity is not None:
        rows.append(("parity", "", _parity(chain.parity.measured, chain.parity.proof, chain.parity.probes)))
    if chain.gate is not None:
        value = chain.gate.metrics.get(chain.gate.metric)
        reached = "undefined" if value is None else f"{value:.6g}"
        against = f", against {chain.gate.champion[:SHOWN]}" if chain.gate.champion else ""
        rows.append(
            (
                "gate",
                "passed" if chain.gate.passed else "not passed",
                f"{chain.gate.metric} {reached}{against}",
            )
        )
    return rows


def _parity(parity: Any, proof: str, probes: int) -> str:
    if proof == "none":
        return "unproved: nothing says what the model answers in its own framework"
    near = f"{parity.max_abs_difference:.2g} from {PROVED_BY[proof]}, allowed {parity.tolerance:.2g}"
    return f"{near}, {parity.rows} rows" + (f", {probes} probes" if probes else "")


def _released(release: Release, entry: Entry | None, digest: str, problem: str) -> list[tuple[object, ...]]:
    """Who, and the release."""
    signed = (
        "signed",
        f"key {release.signed_by}",
        f"WRONG: {problem}" if problem else "valid, by a trusted key",
    )
    rows: list[tuple[object, ...]] = [signed if release.signed_by else ("signed", "no", _unsigned())]
    if entry is None:
        rows.append(("who", "", "not known: it is older than the history"))
    else:
        event = entry.event
        rows.append(("who", event.actor, f"{when(event.time)} UTC, from {event.actor.host}"))
        rows += [("why", "", " ".join(event.reason.split()))] if event.reason else []
        rows += _origin(release)
        rows.append(("history", f"entry {entry.number}", digest[:SHOWN]))
    return [
        *rows,
        (
            "release",
            f"{release.number} {release.state}",
            f"bundle {release.bundle[:SHOWN]}, run {release.run}",
        ),
    ]


def _origin(release: Release) -> list[tuple[object, ...]]:
    """Where it was promoted from, and what was done to it there."""
    origin = release.origin
    if origin is None:
        return []
    rows: list[tuple[object, ...]] = [
        ("promoted", f"from {origin.target}", f"release {origin.release}, {origin.place}")
    ]
    rows += [("", "plan", origin.plan[:SHOWN])] if origin.plan else []
    for entry in origin.history:
        who = Actor.model_validate(entry["actor"])
        why = f": {' '.join(entry['reason'].split())}" if entry["reason"] else ""
        rows.append(("", f"{entry['kind']} there", f"{when(entry['time'])} UTC, by {who}{why}"))
    return rows


def _unsigned() -> str:
    return "released where nothing was signed: by an earlier version, or on a cluster without a key"
