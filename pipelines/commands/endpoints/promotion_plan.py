"""What a promotion would do, before it does anything."""

from typing import Any

from tidegate.infra.cluster.images import tag
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.promotion.places import End
from tidegate.pipelines.promotion.putting_live import serving_there
from tidegate.pipelines.result import table
from tidegate.pipelines.state.bundles import bundle_refs
from tidegate.pipelines.state.promotions import Promotion
from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.deployment.release import EndpointState, Release, load

SHOWN = 16  # hexadecimal digits of a digest
ASKED = (
    "a signature that the target trusts, a chain with parity and gate, and every golden row, answered there"
)
NOT_ASKED = (
    "the gate's metrics, a comparison with the target's champion, or people who approved at the source"
)


def plan_of(here: End, there: End, promotion: Promotion, bundle: Bundle, key: str) -> dict[str, Any]:
    """The plan as `--json` prints it.

    Args:
        here, there: the two targets.
        promotion: as it is asked for.
        bundle: of the release.
        key: that signed it and is trusted; "" where nothing is signed.
    """
    state, release = load(there.home.store, promotion.endpoint), promotion.release
    live = None if state.current is None else state.release(state.current)
    refs = bundle_refs(here.home.store, release.bundle)
    return {
        "endpoint": promotion.endpoint,
        "from": here.name,
        "to": there.name,
        "promotion": promotion.id,
        "origin": promotion.origin.model_dump(mode="json", exclude={"tracked"}),
        "run": release.run,
        "replaces": None
        if live is None
        else {"release": live.number, "run": live.run, "bundle": live.bundle},
        "bundle": release.bundle,
        "files": len(refs),
        "bytes": sum(ref.size for ref in refs),
        "runtime": release.runtime,
        "signature": key,
        "serving": serving_there(release, there.home).model_dump(mode="json", exclude_defaults=True),
        "differs": _differences(here, there, state, release),
        "takes_over": hosting(there.home).describe(serving_there(release, there.home)),
        "probes": 0 if bundle.manifest.probed is None else bundle.manifest.probed.rows,
    }


def _differences(here: End, there: End, ours: EndpointState, release: Release) -> dict[str, list[Any]]:
    """What is not as at the source, because it is the target's: name -> there, here."""
    theirs = load(here.home.store, release.endpoint)
    serving = Serving.model_validate(release.serving)
    stated, kept = serving.port, serving_there(release, there.home).record
    found: dict[str, list[Any]] = {
        "images": [release.tag, "" if there.home.target is None else tag()],
        "port": [
            stated or theirs.port,
            None if there.home.target is not None else ours.port or "the first free one",
        ],
    }
    if serving.record is not None and kept is None:
        found["record"] = [serving.record.model_dump(mode="json"), None]
    return {name: values for name, values in found.items() if values[0] != values[1]}


def records_nothing(plan: dict[str, Any]) -> str:
    """That the target does not record what the source does; "" where nothing is left out."""
    if "record" not in plan["differs"]:
        return ""
    return f"serving.record is left out: requests are kept by endpoints on this machine, and {plan['to']} is a cluster"


def plan_lines(plan: dict[str, Any]) -> str:
    """The plan for people."""
    before = plan["replaces"]
    rows: list[tuple[object, ...]] = [
        ("endpoint", plan["endpoint"]),
        ("from", f"{plan['from']}, release {plan['origin']['release']} (run {plan['run']})"),
        (
            "to",
            f"{plan['to']}, where it is the first release"
            if before is None
            else f"{plan['to']}, after release {before['release']} (run {before['run']})",
        ),
        (
            "bundle",
            f"{plan['bundle'][:SHOWN]}  {plan['files']} files, {plan['bytes']:,} bytes, {plan['runtime']}",
        ),
        ("signed", f"key {plan['signature']}, which {plan['to']} trusts" if plan["signature"] else "no"),
        (
            "serving",
            ", ".join(f"{name}: {value}" for name, value in plan["serving"].items()) or "as by default",
        ),
    ]
    for name, (old, new) in plan["differs"].items():
        if name == "record":
            rows.append(("differs", records_nothing(plan)))
            continue
        rows.append(
            ("differs", f"{name}: {old or 'none'} at {plan['from']}, {new or 'none'} at {plan['to']}")
        )
    rows += [
        ("goes live", plan["takes_over"]),
        (
            "proved by",
            f"{plan['probes']} rows over HTTP, the golden ones by each replica, before it gets traffic",
        ),
        ("asked is", ASKED),
        ("and not", NOT_ASKED),
    ]
    return table(("", ""), rows).strip("\n")
