"""A run's driver as a Job of the cluster: `python -m tidegate.pipelines.driver.job`, the run in $TIDEGATE_RUN.

Exit code 0: the run has ended, with or without success; its outcome is in the run's `end.json`. 143: the pod was
terminated, and the Job's next pod continues. Everything that the next pod needs is in the store.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tidegate.infra.cluster.jobs import driver_name, owner_of, steps_of
from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.driver.driver import Driver
from tidegate.pipelines.driver.kept_plan import PLAN, read_plan
from tidegate.pipelines.errors import CancelledError, PipelineError, error_message
from tidegate.pipelines.executors.kubernetes import KubernetesExecutor
from tidegate.pipelines.executors.tee import tee
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.home import Home, home_at
from tidegate.pipelines.state.mirror import DRIVER_LOG, END, RECORD, Mirror

CANCEL = "cancel.json"
# Files that only the driver writes; a step's files are written by its worker.
OWN = (RECORD, DRIVER_LOG, "logs/sync.log", "spool/run.jsonl", "spool/*.sync.json")
LOCAL = ("deploy", "verify", "promote")
GONE_S = 45.0  # a little more than a pod's grace period


def main() -> int:
    """Drive the run to its end."""
    return do_in_pod(_drive, [*OWN, *(f"{part}/{step}-*" for step in LOCAL for part in ("logs", "errors"))])


def do_in_pod(work: Callable[[Home, Mirror], dict[str, Any]], own: list[str]) -> int:
    """Do the work of a driver's pod, and leave its outcome in the store; an error is its outcome too.

    Args:
        work: of the home and the files of what $TIDEGATE_RUN names; it may be done again, by another pod.
        own: the files that it writes, which are pushed as it goes.
    """
    run = os.environ["TIDEGATE_RUN"]
    home = home_at(Path(os.environ["TIDEGATE_HOME"]), pod=True)
    mirror, folder = Mirror(home, run), home.folder_of(run)
    folder.create()
    mirror.pull_all()
    signal.signal(signal.SIGTERM, lambda *_: _leave(mirror, own))
    with mirror.pushing(*own), tee(folder.log("driver")):
        outcome = _outcome(work, home, mirror)
    write_atomic(mirror.path(END), json.dumps(outcome).encode())
    mirror.push(END)
    return 0


def _leave(mirror: Mirror, own: list[str]) -> None:
    """On SIGTERM: push the run's record and exit; running steps continue."""
    with contextlib.suppress(InfraError):
        mirror.push_all(*own)
    os._exit(128 + signal.SIGTERM)


def _outcome(work: Callable[[Home, Mirror], dict[str, Any]], home: Home, mirror: Mirror) -> dict[str, Any]:
    """Its exit code and, if it failed, its error."""
    try:
        return {"exit_code": 0, "error": "", **work(home, mirror)}
    except Exception as error:
        print(f"error: {error_message(error)}", file=sys.stderr)
        trace = getattr(error, "trace", "")
        return {
            "exit_code": 1,
            "error": error_message(error),
            "trace": trace,
            "cancelled": isinstance(error, CancelledError),
        }


def _drive(home: Home, mirror: Mirror) -> dict[str, Any]:
    content = mirror.pull(PLAN)
    if content is None:
        raise PipelineError(f"the store has no plan of run {mirror.run}; submit the experiment again")
    _run(home, mirror, read_plan(content, home))
    return {}


def _run(home: Home, mirror: Mirror, plan: Plan) -> None:
    job = home.cluster.get("Job", driver_name(mirror.run))
    resources, search = plan.experiment.resources, plan.experiment.search
    executor = KubernetesExecutor(
        home, mirror.run, resources, owner_of(job) if job else None, search.pack if search else 1
    )
    with Driver.exclusive(home, home.folder_of(mirror.run), cancel_on_signal=False) as driver, _saved(driver):
        watcher = threading.Thread(target=_watch_for_cancel, args=(mirror, driver), daemon=True)
        watcher.start()
        try:
            driver.run(plan, executor)
        finally:
            clean_up(home, mirror.run)


@contextlib.contextmanager
def _saved(driver: Driver) -> Iterator[None]:
    """On SIGTERM the record is written first, so that it is pushed as it is."""
    leave = signal.getsignal(signal.SIGTERM)
    assert callable(leave)

    def save(number: int, frame: FrameType | None) -> None:
        driver.save()
        leave(number, frame)

    signal.signal(signal.SIGTERM, save)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, leave)


def _watch_for_cancel(mirror: Mirror, driver: Driver) -> None:
    while True:
        with contextlib.suppress(InfraError):
            if mirror.home.store.read(mirror.key(CANCEL)) is not None:
                driver.cancel()
                return
        time.sleep(2.0)


def clean_up(home: Home, run: str) -> None:
    """Delete the objects of the run's steps from the cluster, and wait until their pods are gone."""
    steps = steps_of(run)
    with contextlib.suppress(InfraError):
        for kind in ("Job", "Service"):
            home.cluster.delete_all(kind, steps)
        deadline = time.monotonic() + GONE_S
        while home.cluster.list("Pod", steps) and time.monotonic() < deadline:
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
