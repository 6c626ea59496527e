"""What keeps the schedules of a home: its own process, or the scheduler of its cluster; and whether it does."""

import time
from typing import Any, Protocol

from tidegate.infra.system import processes
from tidegate.pipelines.commands.schedules.beat import (
    DEAD_S,
    INSTALL,
    other_images,
    read_beat,
    seen_text,
    why_not_kept,
)
from tidegate.pipelines.commands.schedules.scheduler import NAME, ensure_scheduler
from tidegate.pipelines.result import item
from tidegate.pipelines.scheduling.document import ScheduleState, names
from tidegate.pipelines.state.home import Home

DEPLOYMENT = "tidegate-scheduler"
UP = "`tidegate up` starts it"


def ensure_kept(home: Home, state: ScheduleState) -> str:
    """Start a home's scheduler, unless it runs; of a cluster, look whether it does.

    Returns:
        Why nothing starts this schedule, with what is to be done; "" where something does.
    """
    if home.target is None:
        ensure_scheduler(home)
        return ""
    return why_not_kept(home.store) or problem_of(home, state)


def not_kept(home: Home) -> str:
    """Why nothing starts the schedules of a home; "" where something does. Nothing is started."""
    if home.target is not None:
        return why_not_kept(home.store)
    if processes.find(home.processes, NAME) is None:
        return f"the home's scheduler does not run, so nothing is started; {UP}"
    return ""


def problem_of(home: Home, state: ScheduleState) -> str:
    """Why the scheduler of a cluster cannot start one of its schedules; "" where it can."""
    beat = None if home.target is None else read_beat(home.store)
    return "" if beat is None else other_images(state, beat.tag)


def check_scheduler(home: Home) -> list[dict[str, Any]]:
    """One item for the home's scheduler."""
    known, record = names(home.store), processes.find(home.processes, NAME)
    if record is not None:
        return [item(NAME, True, f"process {record.pid} keeps {len(known)} schedules")]
    if known:
        return [item(NAME, False, f"does not run, and {', '.join(known)} need it", "tidegate up")]
    return [item(NAME, True, "none; no schedule needs it")]


class Namespace(Protocol):
    """What is asked of a `Cluster`."""

    namespace: str

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""


def check_cluster_scheduler(home: Home, cluster: Namespace) -> dict[str, Any]:
    """One item for the scheduler of a cluster: whether it is installed, and when it last looked.

    Raises:
        ClusterError, StoreError: that cannot be told.
    """
    known, beat, now = names(home.store), read_beat(home.store), time.time()
    if cluster.get("Deployment", DEPLOYMENT) is None:
        needed = f", and {', '.join(known)} need it" if known else "; no schedule needs it"
        return item(NAME, not known, f"there is no Deployment {DEPLOYMENT}{needed}", INSTALL)
    if beat is None or now - beat.at > DEAD_S:
        seen = "it has never looked" if beat is None else seen_text(beat, now)
        fix = f"see kubectl -n {cluster.namespace} get pods -l app.kubernetes.io/component=scheduler, and their logs"
        return item(NAME, False, f"Deployment {DEPLOYMENT} does not look at the schedules: {seen}", fix)
    return item(NAME, True, f"{seen_text(beat, now)} at {len(known)} schedules, with images {beat.tag}")
