"""The sign of life of a cluster's scheduler, in the store: `check`, `schedule list` and `submit --schedule` read it."""

import json
import socket
import time
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.cluster.images import tag
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Store
from tidegate.pipelines.scheduling.document import ScheduleState

KEY = "scheduler.json"
BEAT_S = 30.0  # between two signs
DEAD_S = 180.0  # a replaced pod has looked again by then
INSTALL = "kubectl apply -k your overlay, which has Deployment tidegate-scheduler (an administrator)"


class Beat(BaseModel):
    """When a cluster's scheduler last looked at its schedules (seconds since the epoch), with which code, and where."""

    model_config = ConfigDict(frozen=True)
    at: float
    tag: str
    host: str


def write_beat(store: Store, now: float) -> None:
    """Say that the schedules were looked at just now; raises StoreError."""
    found = store.read(KEY)
    beat = Beat(at=now, tag=tag(), host=socket.gethostname())
    with suppress(ConflictError):  # another one looks too
        store.write(KEY, beat.model_dump_json().encode(), found and found[1])


def read_beat(store: Store) -> Beat | None:
    """The last sign; None where there never was one."""
    found = store.read(KEY)
    try:
        return None if found is None else Beat.model_validate_json(found[0])
    except ValidationError:  # of another version
        at = json.loads(found[0]).get("at", 0.0) if found else 0.0
        return Beat(at=float(at), tag="of another version", host="")


def seen_text(beat: Beat, now: float) -> str:
    """When it looked, for people."""
    return f"{beat.host} last looked {max(0.0, now - beat.at):.0f} s ago"


def why_not_kept(store: Store) -> str:
    """Why nothing starts the schedules of a cluster, with what is to be done; "" where they are started."""
    beat, now = read_beat(store), time.time()
    if beat is None:
        return f"the cluster has no scheduler, so nothing is started; {INSTALL}"
    if now - beat.at > DEAD_S:
        return (
            f"the cluster's scheduler does not run ({seen_text(beat, now)}), so nothing is started; see `kubectl get "
            f"pods -l app.kubernetes.io/component=scheduler`, or {INSTALL}"
        )
    return ""


def other_images(state: ScheduleState, running: str) -> str:
    """Why the cluster's scheduler cannot start a schedule; "" where its code is that of the schedule.

    Args:
        state: the schedule.
        running: the tag of the scheduler's images.
    """
    if state.cluster is None or state.cluster.tag == running:
        return ""
    return (
        f"schedule {state.name} was set for images {state.cluster.tag}, and the cluster's scheduler is of {running}; "
        "expected the same; set it again (`tidegate submit FILE --schedule`) with Tidegate of that version, or install "
        "the scheduler with the other tag"
    )
