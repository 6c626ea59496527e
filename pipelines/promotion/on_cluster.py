"""From this machine: start the Job that puts a carried release live on a cluster, and follow it to its end."""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tidegate.infra.cluster.jobs import driver_name, is_finished
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.executors.following import follow_driver, is_overdue, why_stuck
from tidegate.pipelines.executors.manifests import promoter_of
from tidegate.pipelines.promotion.putting_live import Outcome
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import DRIVER_LOG, END, Mirror
from tidegate.pipelines.state.promotions import Promotion, find_promotion, forget_promotion


def is_underway(home: Home, promotion: str) -> bool:
    """Whether a Job of this promotion is at work, perhaps of another machine's command."""
    job = home.cluster.get("Job", driver_name(promotion))
    return job is not None and not is_finished(job)


def start(home: Home, promotion: str) -> None:
    """Create the Job; a finished one of an earlier attempt is deleted first."""
    assert home.target is not None
    mirror, name = Mirror(home, promotion), driver_name(promotion)
    while True:
        found = home.cluster.get("Job", name)
        if found is not None and not is_finished(found):
            return
        if found is not None:
            home.cluster.delete("Job", name, uid=found["metadata"]["uid"])
            time.sleep(0.3)
            continue
        mirror.delete(END)
        mirror.delete(DRIVER_LOG)
        try:
            home.cluster.create(promoter_of(home.target, promotion))
        except AlreadyExistsError:  # another command of the same was faster
            continue
        return


def conclude(home: Home, promotion: Promotion, is_live: Callable[[], bool]) -> Outcome | None:
    """Follow it to its end, and leave nothing of it but the release, the history's entry and the outcome.

    Any number of commands may follow one promotion, so its outcome stays until it is started anew.

    Args:
        home: the target's.
        promotion: as this command asks for it; another one may have started it.
        is_live: whether its release is live; asked where its Job did not say so.

    Returns:
        None where it is live by another command's doing.

    Raises:
        PipelineError: it failed, or cannot start; the live release stays.
    """
    kept, mirror = find_promotion(home.store, promotion.id) or promotion, Mirror(home, promotion.id)
    try:
        outcome = _ended(follow_driver(mirror, partial(_check, home, promotion.id)))
    except KeyboardInterrupt:
        print("\nthe promotion goes on there; the same command follows it again", file=sys.stderr)
        raise
    except Exception as error:
        if not is_underway(home, promotion.id):
            forget_promotion(home.store, kept)
        if isinstance(error, PipelineError) and is_live():
            return None
        raise
    mirror.delete(DRIVER_LOG)
    forget_promotion(home.store, kept)
    return outcome


def _ended(outcome: dict[str, Any]) -> Outcome:
    if outcome["exit_code"]:
        error = PipelineError(outcome["error"])
        error.trace = outcome.get("trace", "")
        raise error
    return {key: value for key, value in outcome.items() if key not in ("exit_code", "error")}


def _check(home: Home, promotion: str, since: float | None) -> float | None:
    """Since when its pod has not run, None while it runs; raises PipelineError when it will not."""
    job = home.cluster.get("Job", driver_name(promotion))
    if (job is None or is_finished(job)) and Mirror(home, promotion).pull(END) is None:
        raise PipelineError(
            f"the Job {driver_name(promotion)} ended before it said how; expected its outcome; promote again, which "
            "goes on where it ended"
        )
    reason = why_stuck(home, promotion)
    if reason is None:
        return None
    if since is None:
        print(f"the promotion waits: {reason.message}", file=sys.stderr)
        return time.monotonic()
    if is_overdue(reason, since):
        home.cluster.delete("Job", driver_name(promotion))
        raise PipelineError(f"the promotion could not start: {reason.message}; then promote again")
    return since
