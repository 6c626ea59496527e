"""From this machine: start the Job that puts a carried release live on a cluster, and follow it to its end."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tidegate.infra.cluster.jobs import driver_name, is_finished
from tidegate.infra.cluster.pods.diagnosis import Reason
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.driver.job import END
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.executors.manifests import promoter_of
from tidegate.pipelines.promotion.job import LOG
from tidegate.pipelines.promotion.putting_live import Outcome
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror
from tidegate.pipelines.state.promotions import Promotion, find_promotion, forget_promotion

POLL_S = 1.0
CHECK_S = 5.0  # between looks at the pod of a silent Job
PERMANENT_S, PATIENCE_S = 20.0, 300.0
WhyStuck = Callable[[Home, str], Reason | None]


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
        mirror.delete(LOG)
        try:
            home.cluster.create(promoter_of(home.target, promotion))
        except AlreadyExistsError:  # another command of the same was faster
            continue
        return


def follow(home: Home, promotion: str, why_stuck: WhyStuck) -> Outcome:
    """Show its log until it has ended; return its outcome. Ctrl-C stops only the following.

    Args:
        home: the target's.
        promotion: its id.
        why_stuck: why a Job's pod does not run, if it does not.

    Raises:
        PipelineError: it failed, or cannot start; the live release stays.
    """
    mirror, shown, checked, since = Mirror(home, promotion), 0, time.monotonic(), 0.0
    while True:
        log = mirror.pull(LOG) or b""
        if len(log) > shown:
            sys.stderr.write(log[shown:].decode(errors="replace"))
            sys.stderr.flush()
            shown, checked, since = len(log), time.monotonic(), 0.0
        end = mirror.pull(END)
        if end is not None:
            return _ended(json.loads(end))
        if time.monotonic() - checked > CHECK_S:
            checked = time.monotonic()
            since = _check(home, promotion, why_stuck, since)
        time.sleep(POLL_S)


def conclude(
    home: Home, promotion: Promotion, why_stuck: WhyStuck, is_live: Callable[[], bool]
) -> Outcome | None:
    """Follow it to its end, and leave nothing of it but the release, the history's entry and the outcome.

    Any number of commands may follow one promotion, so its outcome stays until it is started anew.

    Args:
        home: the target's.
        promotion: as this command asks for it; another one may have started it.
        why_stuck: see `follow`.
        is_live: whether its release is live; asked where its Job did not say so.

    Returns:
        None where it is live by another command's doing.

    Raises:
        PipelineError: see `follow`.
    """
    kept = find_promotion(home.store, promotion.id) or promotion
    try:
        outcome = follow(home, promotion.id, why_stuck)
    except KeyboardInterrupt:
        print("\nthe promotion goes on there; the same command follows it again", file=sys.stderr)
        raise
    except Exception as error:
        if not is_underway(home, promotion.id):
            forget_promotion(home.store, kept)
        if isinstance(error, PipelineError) and is_live():
            return None
        raise
    Mirror(home, promotion.id).delete(LOG)
    forget_promotion(home.store, kept)
    return outcome


def _ended(outcome: dict[str, Any]) -> Outcome:
    if outcome["exit_code"]:
        error = PipelineError(outcome["error"])
        error.trace = outcome.get("trace", "")
        raise error
    return {key: value for key, value in outcome.items() if key not in ("exit_code", "error")}


def _check(home: Home, promotion: str, why_stuck: WhyStuck, since: float) -> float:
    """Since when its pod has not run, 0 while it runs; raises PipelineError when it will not."""
    job = home.cluster.get("Job", driver_name(promotion))
    if (job is None or is_finished(job)) and Mirror(home, promotion).pull(END) is None:
        raise PipelineError(
            f"the Job {driver_name(promotion)} ended before it said how; expected its outcome; promote again, which "
            "goes on where it ended"
        )
    reason = why_stuck(home, promotion)
    if reason is None:
        return 0.0
    if not since:
        print(f"the promotion waits: {reason.message}", file=sys.stderr)
        return time.monotonic()
    if time.monotonic() - since > (PERMANENT_S if reason.permanent else PATIENCE_S):
        home.cluster.delete("Job", driver_name(promotion))
        raise PipelineError(f"the promotion could not start: {reason.message}; then promote again")
    return since
