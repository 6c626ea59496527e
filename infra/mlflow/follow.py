"""Keeps MLflow up to date with a run, with patience while its server is down."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tidegate.infra.errors import LockedError, TrackingError
from tidegate.infra.mlflow import failures
from tidegate.infra.mlflow.replay import Fetch, Progress, Render, Replay, progress
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.infra.system.backoff import pauses
from tidegate.infra.system.locks import lock

FIRST_S, LONGEST_S = 0.5, 10.0  # between two tries
SHARE, LONGEST_POLL_S = (
    20,
    3.0,
)  # to look through the spools of thousands of trials takes a twentieth of the time


def follow(
    folder: Path,
    uri: str,
    *,
    fetch: Fetch,
    render: Render,
    finished: Callable[[], bool] = lambda: True,
    ready: Callable[[], None] = lambda: None,
    wait: Callable[[float], object] = time.sleep,
    patience_s: float = 30.0,
    poll_s: float = 0.3,
) -> Progress:
    """Keep MLflow up to date with a run until the run is finished and synced; MLflow's errors are never raised.

    Args:
        folder: the run's spools; its name is the run's id.
        uri: MLflow's URI.
        fetch: returns the local file of a store reference; raises InfraError.
        render: draws the pictures of a report.
        finished: returns whether all writers to the spools have ended.
        ready: waits for a server that was just started; may raise TrackingError.
        wait: waits so many seconds, or until `finished` has become true.
        patience_s: seconds to wait for MLflow, or for another process that replays, once `finished`.
        poll_s: seconds between two checks for new events.
    """
    try:
        with lock(folder / "sync.lock", patience_s):
            replay = Replay(folder, _connect(uri), fetch, render)
            with suppress(TrackingError):  # then patience decides
                ready()
            return progress(folder, _until(replay, finished, wait, patience_s, poll_s), replay.refused)
    except (LockedError, TrackingError) as error:
        return progress(folder, str(error))


def _connect(uri: str) -> Tracker:
    try:
        return Tracker(uri)
    except Exception as error:  # MLflow is not installed, or does not know the scheme
        raise TrackingError(f"MLflow at {uri} cannot be used: {error}; check $MLFLOW_TRACKING_URI") from error


def _until(
    replay: Replay,
    finished: Callable[[], bool],
    wait: Callable[[float], object],
    patience_s: float,
    poll_s: float,
) -> str:
    """Step until all is sent and the run is finished, or until patience ends; return the problem, or ""."""
    waits, give_up = pauses(FIRST_S, LONGEST_S), None
    while True:
        done = finished()  # asked before the step, so that the step sees the last event
        if done and give_up is None:
            give_up = time.monotonic() + patience_s
        began = time.thread_time()
        try:
            sent = replay.step()
            if not sent and done:
                return ""
            looked_s = 0.0 if sent else time.thread_time() - began
            give_up, waits = None, pauses(FIRST_S, LONGEST_S)
            if not done:
                wait(max(poll_s, min(LONGEST_POLL_S, SHARE * looked_s)))
        except Exception as error:
            left = give_up - time.monotonic() if give_up else LONGEST_S
            if left <= 0:
                return failures.explain(replay.tracker.uri, error)
            time.sleep(min(next(waits), left))
