"""The background process that brings a run's spool to MLflow, and the registry's alias after the release.

`python -m pipelines.sync --home DIR --run RUN` follows until the run has ended; its driver holds its standard
input, so it ends with the driver.
"""

import argparse
import json
import os
import stat
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from infra import mlflow_server, replay
from infra.errors import TrackingError
from infra.store import Ref
from infra.tracking import Tracker
from pipelines.home import Home
from serving.release import load

PATIENCE_S = 20.0


def sync_run(home: Home, run: str, driver_left: threading.Event | None = None) -> replay.Progress:
    """Bring one run to MLflow; never raises for MLflow's sake.

    Args:
        home: the home.
        run: the run's id.
        driver_left: set once nobody writes to the spool any more; None: that is so already.
    """
    folder = home.spool / run
    try:
        uri = mlflow_server.ensure(home.path)
    except TrackingError as error:
        return replay.progress(folder, str(error))
    return replay.follow(
        folder,
        uri,
        fetch=lambda ref: home.store.fetch(Ref.model_validate(ref)),
        render=lambda ref: _pictures(home.store.fetch(Ref.model_validate(ref))),
        finished=lambda: driver_left is None or driver_left.is_set(),
        patience_s=PATIENCE_S,
    )


def _pictures(report: Path) -> Iterable[tuple[str, bytes]]:
    from models.figures import render

    with np.load(report, allow_pickle=False) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
        return render(facts | {"y_true": arrays["y_true"], "y_pred": arrays["y_pred"]})


def follow_release(home: Home, endpoint: str) -> str:
    """Make the registry's alias name what the release pointer names; return the version, or "".

    Raises:
        TrackingError: MLflow can not be told now; the next command that syncs tries again.
    """
    from infra.registry import clear_champion, follow_champion

    state = load(home.store, endpoint)
    tracker = Tracker(mlflow_server.ensure(home.path))
    if state.current is None:
        clear_champion(tracker, endpoint)
        return ""
    release = state.release(state.current)
    known = replay.state(home.spool / release.run).get(release.trial)
    if known is None:
        raise TrackingError(f"run {release.run} is not synced yet; `tidegate resume {release.run}` syncs it")
    description = f"release {release.number} of {endpoint}, bento {release.bento}, runtime {release.runtime}"
    tags = {
        "tidegate.release": release.number,
        "tidegate.run": release.run,
        "tidegate.bento": release.bento,
        "tidegate.bundle": release.bundle,
        "tidegate.runtime": release.runtime,
        "tidegate.parity": release.parity.max_abs_difference,
    }
    return follow_champion(tracker, endpoint, known["run_id"], description, tags)


def unsynced(home: Home) -> list[str]:
    """Runs of which MLflow does not know everything."""
    return [path.name for path in sorted(home.spool.iterdir()) if not replay.progress(path).synced]


def main() -> int:
    """Follow one run; exit code 0 when MLflow knows all of it."""
    parser = argparse.ArgumentParser(prog="pipelines.sync", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--run", required=True)
    given = parser.parse_args()
    home, left = Home(given.home), threading.Event()
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_listen, args=(left,), daemon=True).start()
    else:
        left.set()
    progress = sync_run(home, given.run, left)
    problem = progress.problem
    endpoint = home.run_folder(given.run).read().endpoint
    if progress.synced and load(home.store, endpoint).current is not None:
        try:
            follow_release(home, endpoint)
        except TrackingError as error:
            problem = str(error)
    for refused in progress.refused:
        print(f"MLflow refused {refused}", file=sys.stderr)
    if problem:
        print(problem, file=sys.stderr)
    return 0 if progress.synced and not problem else 1


def _listen(left: threading.Event) -> None:
    """The driver writes a byte when the run has ended; a pipe that just closes means that it died."""
    if os.read(0, 1) == b"":
        os._exit(1)
    left.set()


if __name__ == "__main__":
    sys.exit(main())
