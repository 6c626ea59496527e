"""The background process that sends a run's spool to MLflow and keeps the registry's alias on the live release.

`python -m tidegate.pipelines.driver.mlflow_sync --home DIR --run RUN` runs until the run has ended. Its driver
holds its standard input, so it ends with the driver.
"""

import argparse
import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.errors import InfraError, LockedError, TrackingError
from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.follow import follow
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.infra.store import Ref
from tidegate.infra.system.locks import lock
from tidegate.infra.system.priority import give_way
from tidegate.pipelines.driver.mlflow_deletion import delete_pending, has_pending, pending_aliases
from tidegate.pipelines.executors.forking.imports import SYNC
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.hosting import abandon
from tidegate.pipelines.state.home import Home, home_at
from tidegate.serving.deployment.release import Release, load

PATIENCE_S = 20.0
ALIAS_S = 60.0


def sync_run(home: Home, run: str, driver_left: threading.Event | None = None) -> replay.Progress:
    """Send one run to MLflow; errors of MLflow are returned as the problem, never raised.

    Args:
        home: the home.
        run: the run's id.
        driver_left: set once nobody writes to the spool any more; None: nobody does already.
    """
    folder = home.spool / run
    try:
        uri = mlflow_server.ensure(home.path)
    except TrackingError as error:
        return replay.progress(folder, str(error))
    progress = follow(
        folder,
        uri,
        fetch=lambda ref: home.store.fetch(Ref.model_validate(ref)),
        render=_Pictures(home),
        finished=lambda: driver_left is None or driver_left.is_set(),
        ready=lambda: _wait_for_server(home, uri),
        wait=time.sleep if driver_left is None else driver_left.wait,
        patience_s=PATIENCE_S,
    )
    # Why a server of ours ended says more than that nobody answers.
    ended = progress.problem and mlflow_server.death(home.path, uri)
    return progress.model_copy(update={"problem": ended}) if ended else progress


def _wait_for_server(home: Home, uri: str) -> None:
    """Wait for a server of ours that is still starting, which can take long on a busy machine."""
    if mlflow_server.runs_locally(home.path):
        mlflow_server.wait_ready(uri, home=home.path)


class _Pictures:
    """Draws the figures of a report. The run and its winner have the same ones, which are drawn once."""

    def __init__(self, home: Home) -> None:
        self._home, self._last = home, ("", [("", b"")])

    def __call__(self, ref: Any) -> Iterable[tuple[str, bytes]]:
        found = Ref.model_validate(ref)
        if self._last[0] != found.digest:
            self._last = found.digest, list(pictures(self._home.store.fetch(found)))
        return self._last[1]


def pictures(report: Path) -> Iterable[tuple[str, bytes]]:
    """Draw the figures of a trial's report: file name and content of each."""
    from tidegate.models.evaluation.figures import render
    from tidegate.models.explaining.attribution_figures import render_attributions

    with np.load(report, allow_pickle=False) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
        whole = facts | {name: arrays[name] for name in arrays if name != "facts"}
    return [*render(whole), *(render_attributions(whole) if "explained" in facts else ())]


def follow_release(home: Home, endpoint: str) -> str:
    """Set the registry's alias to the live release; return the model version, or "".

    Raises:
        TrackingError: MLflow cannot be updated now; the next command that syncs tries again.
        LockedError: another process has been updating it for too long.
    """
    tracker = Tracker(mlflow_server.ensure(home.path))
    # The pointer is read under the lock: of two processes at once, the later one sees the newer release.
    with lock(home.endpoints / f"{endpoint}.alias.lock", timeout=ALIAS_S):
        return _follow(home, endpoint, tracker)


def _follow(home: Home, endpoint: str, tracker: Tracker) -> str:
    from tidegate.infra.mlflow.registry import clear_champion, set_champion

    state = load(home.store, endpoint)
    if state.current is None:
        clear_champion(tracker, endpoint)
        return ""
    release = state.release(state.current)
    known = replay.state(home.spool / release.run).get(release.trial)
    if known is None and release.origin is not None:
        return _follow_promoted(tracker, release)
    if known is None:
        raise TrackingError(f"run {release.run} is not synced yet; `tidegate resume {release.run}` syncs it")
    return set_champion(tracker, endpoint, known["run_id"], *_said(release))


def _follow_promoted(tracker: Tracker, release: Release) -> str:
    """Of a release of another target: its model is in this MLflow where both use the same; else the alias goes.

    Raises:
        TrackingError: MLflow cannot be updated now; the alias stays as it is.
    """
    from tidegate.infra.mlflow.registry import clear_champion, has_run, set_champion

    assert release.origin is not None
    if release.origin.tracked:
        try:
            return set_champion(tracker, release.endpoint, release.origin.tracked, *_said(release))
        except TrackingError:
            if has_run(tracker, release.origin.tracked):
                raise
    clear_champion(tracker, release.endpoint)
    return ""


def _said(release: Release) -> tuple[str, dict[str, Any]]:
    """The description and the tags of a released model's version."""
    name = f"release {release.number} of {release.endpoint}"
    return f"{name}, bento {release.bento}, runtime {release.runtime}", {
        "tidegate.release": release.number,
        "tidegate.run": release.run,
        "tidegate.bento": release.bento,
        "tidegate.bundle": release.bundle,
        "tidegate.runtime": release.runtime,
        "tidegate.parity": release.parity.max_abs_difference,
    }


def catch_up(home: Home) -> None:
    """Do in MLflow what could not be done while it did not run: delete runs, move aliases. Raises TrackingError."""
    delete_pending(home)
    for path in pending_aliases(home):
        follow_release(home, path.name)
        path.unlink(missing_ok=True)


def unsynced(home: Home) -> list[str]:
    """Runs that are not completely in MLflow."""
    return [path.name for path in sorted(home.spool.iterdir()) if not replay.progress(path).synced]


def sync_command(home: Home, run: str | None) -> list[str]:
    """The command line of the process that syncs a run; None: only what could not be done before."""
    return [
        sys.executable,
        "-P",
        "-m",
        SYNC.module,
        "--home",
        str(home.path),
        *(("--run", run) if run is not None else ()),
    ]


def finished(process: ForkedProcess, patience_s: float) -> bool:
    """Tell the sync that the run has ended; return whether it sent everything."""
    with contextlib.suppress(OSError):
        process.stdin.write(b"\n")
        process.stdin.flush()
    try:
        return process.wait(patience_s) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    finally:
        # If the sync ended earlier, what is still in the pipe's buffer is lost.
        with contextlib.suppress(OSError):
            process.stdin.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Sync one run; exit code 0 if all of it is in MLflow.

    Args:
        argv: `--home DIR --run RUN`; default: the arguments of the process.
    """
    parser = argparse.ArgumentParser(prog="tidegate.pipelines.driver.mlflow_sync", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--run", help="without it, only what could not be done while MLflow did not run")
    given = parser.parse_args(argv)
    home, left = home_at(given.home), threading.Event()
    if given.run is None:
        mlflow_server.wait_ready(mlflow_server.ensure(home.path), home=home.path)
        catch_up(home)
        return 0
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        give_way()
        threading.Thread(target=_listen, args=(home, given.run, left), daemon=True).start()
    else:
        left.set()
    progress = sync_run(home, given.run, left)
    problem = progress.problem or (_alias_problem(home, given.run) if progress.synced else "")
    if progress.synced and has_pending(home):
        with contextlib.suppress(InfraError):  # the next sync tries again
            catch_up(home)
    for refused in progress.refused:
        print(f"MLflow rejected {refused}", file=sys.stderr)
    if problem:
        print(problem, file=sys.stderr)
    return 0 if progress.synced and not problem else 1


def _alias_problem(home: Home, run: str) -> str:
    """Why the alias could not be set; "" if the live release is another run's, which reports it itself."""
    endpoint = home.run_folder(run).read().endpoint
    state = load(home.store, endpoint)
    if state.current is None:
        return ""
    try:
        follow_release(home, endpoint)
    except InfraError as error:
        return str(error) if state.release(state.current).run == run else ""
    return ""


def _listen(home: Home, run: str, left: threading.Event) -> None:
    """Wait for the driver: it writes a byte when the run has ended; if the pipe closes without one, it died."""
    if os.read(0, 1) == b"":
        try:
            _clean_up(home, run)
        finally:
            os._exit(1)
    left.set()


def _clean_up(home: Home, run: str) -> None:
    """Stop the server of a release that a dead driver left without traffic, unless a new driver runs."""
    folder = home.run_folder(run)
    with contextlib.suppress(LockedError), lock(folder.lock, timeout=1.0):
        abandon(home, run, folder.read().endpoint)


if __name__ == "__main__":
    sys.exit(main())
