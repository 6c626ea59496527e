"""From any machine: follow a driver's Job, of a run or of a promotion, by its pod and what it leaves in the store."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tidegate.infra.cluster.jobs import STEP, driver_name, run_labels, selector
from tidegate.infra.cluster.pods.diagnosis import Reason, why_ended, why_from_events, why_waiting
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import DRIVER_LOG, END, Mirror

POLL_S = 1.0
CHECK_S = 5.0  # between checks of the pod of a silent driver
PERMANENT_S = 20.0
PATIENCE_S = 300.0  # a driver that is not scheduled by then will not be
Stuck = TypeVar("Stuck")


def follow_driver(mirror: Mirror, check: Callable[[Stuck | None], Stuck | None]) -> dict[str, Any]:
    """Show the log of a driver's Job until it has ended; return its outcome.

    Args:
        mirror: of what it drives.
        check: called every few seconds while it is silent, with what it returned last; None at first, and after a
            word of it. What it raises ends the following.
    """
    shown, checked, stuck = 0, time.monotonic(), None
    while True:
        log = mirror.pull(DRIVER_LOG) or b""
        if len(log) > shown:
            sys.stderr.write(log[shown:].decode(errors="replace"))
            sys.stderr.flush()
            shown, checked, stuck = len(log), time.monotonic(), None
        end = mirror.pull(END)
        if end is not None:
            document: dict[str, Any] = json.loads(end)
            return document
        if time.monotonic() - checked > CHECK_S:
            checked, stuck = time.monotonic(), check(stuck)
        time.sleep(POLL_S)


def why_stuck(home: Home, run: str) -> Reason | None:
    """Why the pod of a driver's Job does not run, if it does not.

    Args:
        home: the target's.
        run: id of what it drives.
    """
    labels = f"{selector(run_labels(run))},{STEP}=driver"
    pods = home.cluster.list("Pod", labels)
    if any(pod["status"].get("phase") == "Running" for pod in pods):
        return None
    for pod in reversed(pods):
        reason = why_waiting(pod) or why_ended(pod)
        if reason is not None:
            return reason
    name = pods[-1]["metadata"]["name"] if pods else driver_name(run)
    return why_from_events(home.cluster.list("Event", fields=f"involvedObject.name={name}"))


def is_overdue(reason: Reason, since: float) -> bool:
    """Whether a pod has waited for so long, since a `time.monotonic()`, that it will not start."""
    return time.monotonic() - since > (PERMANENT_S if reason.permanent else PATIENCE_S)
