"""The second half of a promotion, at the target: deploy what was carried, prove it there, give it the traffic.

On this machine the command does it; on a cluster a Job with the rights and the key of a run's driver.
"""

from typing import Any

from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.history.actors import on_behalf
from tidegate.pipelines.history.record import new_event
from tidegate.pipelines.hosting import abandon, hosting
from tidegate.pipelines.promotion.carrying import lay_out_packages
from tidegate.pipelines.promotion.signed_entries import PROMOTED, signed
from tidegate.pipelines.signing.releases import accept_signature
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.promotions import Promotion
from tidegate.pipelines.steps.releasing.deployment import deploy, go_live
from tidegate.pipelines.steps.releasing.proof import Candidate, prove
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.release import Release, load

Outcome = dict[str, Any]


def put_live(home: Home, promotion: Promotion) -> Outcome:
    """Deploy, prove and release; after a kill the same again goes on.

    Args:
        home: the target's.
        promotion: whose bundle is in its store.

    Returns:
        `release`, `url`, `rows` (proved; 0 where it was live before), `max_abs_difference`, `forgotten`.

    Raises:
        PipelineError: its proof failed, or another release went live meanwhile; the live one stays.
        ServingError, InfraError: it did not start; the live one stays.
    """
    state = load(home.store, promotion.endpoint)
    known = state.find(promotion.key)
    if known is not None and known.state != "pending":  # an attempt before was killed after it
        return {"release": known.number, "url": hosting(home).url(state), "rows": 0, "forgotten": []}
    try:
        return _put_live(home, promotion)
    except BaseException:
        abandon(home, promotion.id, promotion.endpoint)
        raise


def _put_live(home: Home, promotion: Promotion) -> Outcome:
    theirs, endpoint = promotion.release, promotion.endpoint
    bundle = open_bundle(fetch_bundle(home, theirs.bundle), theirs.bundle)
    if home.target is None:
        lay_out_packages(home, theirs.bundle, bundle)
    kept = theirs.model_dump(include={"run", "trial", "bundle", "bento", "runtime", "secrets"})
    _, release = deploy(
        home,
        endpoint,
        promotion.id,
        promotion.key,
        serving_there(theirs, home),
        **kept,
        parity=theirs.parity,
        signed_by=accept_signature(home, bundle),
        origin=promotion.origin,
    )
    proof = prove(Candidate(home, endpoint, release.number))
    done = go_live(home, endpoint, release.number, promotion.champion, _event(home, promotion))
    return {
        "release": release.number,
        "url": done.url,
        "rows": proof.rows,
        "max_abs_difference": proof.max_abs_difference,
        "forgotten": done.forgotten,
    }


def serving_there(release: Release, there: Home) -> Serving:
    """How the release is served at the target: as at the source, but for the port, which is the target's.

    On a cluster nothing is recorded, see `hosting.kubernetes`: how a release answers is the same without it.
    """
    left_out = {"port": None} if there.target is None else {"port": None, "record": None}
    return Serving.model_validate({**release.serving, **left_out})


def _event(home: Home, promotion: Promotion) -> Event:
    """What the target's history says of it, which stands there without the source."""
    event = new_event(
        home,
        PROMOTED,
        endpoint=promotion.endpoint,
        run=promotion.release.run,
        reason=promotion.reason,
        actor=on_behalf(promotion.by, home),
        bundle=promotion.release.bundle,
        origin=promotion.origin.model_dump(mode="json", exclude={"promotion", "tracked"}),
    )
    return signed(home, event)
