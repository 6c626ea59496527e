"""promote: a release goes from one target to another, proved there again before it gets traffic."""

import sys
from typing import Any

from tidegate.infra.system.locks import is_held, lock
from tidegate.pipelines.commands.checking.pod import NAME, check_pod
from tidegate.pipelines.commands.endpoints.lifecycle import follow_alias
from tidegate.pipelines.commands.endpoints.promotion_plan import plan_lines, plan_of, records_nothing
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.history.record import checked_reason
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.promotion import on_cluster
from tidegate.pipelines.promotion.carrying import carry
from tidegate.pipelines.promotion.checks import check_target, is_trusted, secrets_of
from tidegate.pipelines.promotion.origin import new_promotion, release_of
from tidegate.pipelines.promotion.places import End, open_end
from tidegate.pipelines.promotion.putting_live import Outcome, put_live, serving_there
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.home import Home, mlflow_of
from tidegate.pipelines.state.promotions import Promotion, forget_promotion, keep_promotion
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.deployment.release import Release, load


def promote(
    home: Home,
    name: str,
    source: str,
    destination: str,
    release: int | None = None,
    *,
    dry_run: bool = False,
    message: str | None = None,
) -> Result:
    """Carry a release to another target: its bundle, its signature and its history; prove it there, and let it go live.

    Nothing is trained, and no metric is measured again. The same command goes on after a kill.

    Args:
        home: of this machine.
        name: the endpoint, the same at both targets.
        source: `local`, a name in targets.yaml, or the folder of another home.
        destination: likewise.
        release: its number at the source; None: the live one.
        dry_run: only say what would be done.
        message: why, for the history.

    Raises:
        UnknownNameError, ReleaseError: no such target, endpoint or release.
        UsageError: the target lacks something, or does not trust who signed it; nothing was copied.
        PipelineError, ServingError: its proof failed, or it did not start; what is live at the target stays.
        InfraError: one of the two does not answer.
    """
    if home.target is not None:
        raise UsageError(
            f"promote: received --target {home.target.name}; expected --from and --to alone; leave it out"
        )
    reason = checked_reason(message)
    here, there = open_end(home, source, "--from"), open_end(home, destination, "--to")
    if here.place == there.place:
        raise UsageError(
            f"--from {source} and --to {destination} are both {here.place}; expected two targets"
        )
    state, found = release_of(here, name, release)
    bundle = open_bundle(fetch_bundle(here.home, found.bundle), found.bundle)
    promotion = new_promotion(here, there, state, found, bundle, reason)
    known = _already_live(here, there, promotion)
    if known is not None:
        return known
    key = check_target(here, there, found, bundle)
    plan = plan_of(here, there, promotion, bundle, key)
    if dry_run:
        return Result({**plan, "promoted": False, "dry_run": True}, plan_lines(plan))
    do = _at_home if there.home.target is None else _on_cluster
    outcome = do(here, there, promotion, bundle)
    if outcome is None:  # another command of the same was faster
        again = _already_live(here, there, promotion)
        return again or promote(home, name, source, destination, release, message=message)
    with mlflow_of(there.home):
        note = follow_alias(there.home, name, start=False)
    proved = f"{outcome['rows']} rows proved there" if outcome["rows"] else "proved there before"
    text = (
        f"{name} at {there.name} serves release {outcome['release']} at {outcome['url']}: release {found.number} of "
        f"{here.name}, {proved}"
    )
    note = "\n".join(filter(None, [records_nothing(plan), note]))
    return Result({**plan, **outcome, "promoted": True, "note": note}, f"{text}\n{note}".strip())


def _already_live(here: End, there: End, promotion: Promotion) -> Result | None:
    """What is said where the target has the release already; None where it has not.

    Raises:
        UsageError: it had it, and another one has replaced it since.
    """
    state = load(there.home.store, promotion.endpoint)
    ours = promotion.release
    what = f"release {ours.number} of {promotion.endpoint} at {here.name}"
    live = None if state.current is None else state.release(state.current)
    if live is not None and (live.key == promotion.key or _same(live, ours, there)):
        url = hosting(there.home).url(state)
        data = {"endpoint": state.name, "from": here.name, "to": there.name, "promoted": False}
        text = f"{what} is live at {there.name} already, as release {live.number} at {url}; nothing was done"
        return Result({**data, "release": live.number, "url": url}, text)
    known = state.find(promotion.key)
    if known is not None and known.state == "retired":
        raise UsageError(
            f"{what} was promoted to {there.name} before, as release {known.number}, which another one has replaced "
            f"since; expected one that {there.name} has not had; `tidegate rollback {state.name} --to {known.number} "
            f"{there.options}` serves it again"
        )
    return None


def _same(live: Release, ours: Release, there: End) -> bool:
    """Whether both serve the same bytes in the same way."""
    return live.bundle == ours.bundle and serving_there(live, there.home) == serving_there(ours, there.home)


def _carry(here: End, there: End, promotion: Promotion, bundle: Bundle) -> None:
    keep_promotion(there.home.store, promotion)
    size = carry(
        here.home,
        there.home,
        bundle,
        promotion.release.bundle,
        lambda found: is_trusted(there, found, bundle),
    )
    print(f"{size:,} bytes are at {there.name}, and not served yet", file=sys.stderr)


def _at_home(here: End, there: End, promotion: Promotion, bundle: Bundle) -> Outcome | None:
    """All of it in this process; None where another one has just done it."""
    folder = there.home.folder_of(promotion.id)
    folder.create()
    busy = is_held(folder.lock)
    if busy:
        print("the same is being promoted by another command; waiting for it", file=sys.stderr)
    with lock(folder.lock):
        if busy and _already_live(here, there, promotion) is not None:
            return None
        try:
            _carry(here, there, promotion, bundle)
            return put_live(there.home, promotion)
        finally:
            forget_promotion(there.home.store, promotion)


def _on_cluster(here: End, there: End, promotion: Promotion, bundle: Bundle) -> Outcome | None:
    """What needs the cluster's network, rights and key is done by a Job there; None where another one has done it."""
    home = there.home

    def is_live() -> bool:
        return _already_live(here, there, promotion) is not None

    if not on_cluster.is_underway(home, promotion.id):
        _check_pod(there, promotion.release)
        if is_live():  # by another command, while the pod looked
            return None
        _carry(here, there, promotion, bundle)
        on_cluster.start(home, promotion.id)
    return on_cluster.conclude(home, promotion, is_live)


def _check_pod(there: End, release: Release) -> None:
    """Refuse a Secret, an image or rights that are not there, which only a pod can tell."""
    target = there.home.target
    assert target is not None
    items: list[dict[str, Any]] = check_pod(there.home.cluster, target, secrets_of(release))
    wrong = [one for one in items if not one["ok"] and one["name"].startswith((NAME, "store"))]
    if wrong:
        said = "; ".join(f"{one['name']}: {one['detail']}" for one in wrong)
        raise UsageError(
            f"{there.name} cannot serve release {release.number} of {release.endpoint}: {said}; nothing was copied; "
            f"`tidegate check {there.options}` says more"
        )
