"""What a promotion takes with it, beside the bundle: which release it is, its plan, and who did what to it there."""

import hashlib
import json
import time
from typing import Any

from tidegate.infra.mlflow import replay
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.history.actors import actor_of
from tidegate.pipelines.history.entries import contents, listed
from tidegate.pipelines.history.record import is_about, settle
from tidegate.pipelines.promotion.places import End
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror
from tidegate.pipelines.state.promotions import Promotion
from tidegate.serving.bundle.bundle import CHAIN, Bundle
from tidegate.serving.bundle.chain import read_chain
from tidegate.serving.deployment.origin import Origin
from tidegate.serving.deployment.release import EndpointState, Release, load

LONGEST_NAME = 30  # characters of the endpoint's name in an id, of which a Job's name is made


def release_of(source: End, name: str, number: int | None) -> tuple[EndpointState, Release]:
    """The release of an endpoint that is to be promoted: the live one, or one that has served.

    Raises:
        UnknownNameError, ReleaseError: no such endpoint, or release.
        UsageError: it has never been live.
    """
    state = require_endpoint(source.home, name)
    release = state.release(state.current or 0 if number is None else number)
    if release.state not in ("live", "retired"):
        raise UsageError(
            f"release {release.number} of {name} at {source.name} is {release.state}; expected one that has served "
            f"there; `tidegate endpoints {source.options} --json` lists them"
        )
    return state, release


def new_promotion(
    source: End, target: End, state: EndpointState, release: Release, bundle: Bundle, reason: str
) -> Promotion:
    """A promotion as it is asked for now; nothing is done yet.

    Args:
        source: where the release is.
        target: where it goes.
        state, release: of the endpoint at the source, as `release_of` gave them.
        bundle: of the release.
        reason: why.
    """
    name = state.name
    what = [source.place, state.incarnation, release.model_dump(mode="json", exclude={"state"})]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    number = f"{name[:LONGEST_NAME].strip('-._')}-promoted-{key[:8]}"
    there = load(target.home.store, name)
    return Promotion(
        id=number,
        key=key,
        release=release,
        origin=Origin(
            promotion=number,
            target=source.name,
            place=source.place,
            release=release.number,
            plan=_plan(bundle),
            tracked=_tracked(source.home, release),
            history=_history(source.home, state, release),
        ),
        champion=None if there.current is None else there.release(there.current).bundle,
        by=actor_of(target.home),
        reason=reason,
        created=time.time(),
    )


def _plan(bundle: Bundle) -> str:
    """SHA-256 of the experiment's content and the steps' keys; "" where they are not known."""
    if CHAIN not in bundle.manifest.files:
        return ""
    chain = read_chain((bundle.folder / CHAIN).read_bytes())
    return hashlib.sha256(json.dumps([chain.experiment, chain.steps], sort_keys=True).encode()).hexdigest()


def _tracked(home: Home, release: Release) -> str:
    """The winner's run in the MLflow that the other target uses; "" where it is not known."""
    if home.target is not None:
        Mirror(home, release.run).pull_all("spool/*")
    known = replay.state(home.spool / release.run).get(release.trial)
    return str(known["run_id"]) if known else ""


def _history(home: Home, state: EndpointState, release: Release) -> tuple[dict[str, Any], ...]:
    """What that history has of the release and of the run that made it."""
    settle(home.store)
    found = []
    for entry, digest in listed(contents(home.store)):
        event = entry.event
        decided = event.run == release.run and event.kind in ("approved", "refused")
        if decided or is_about(event, state, release.number):
            row = event.model_dump(mode="json", include={"kind", "time", "actor", "reason"})
            found.append({"number": entry.number, "digest": digest, **row})
    return tuple(found)
