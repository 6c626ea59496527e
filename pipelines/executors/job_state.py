"""What becomes of one Job: whether it is gone, why its pods wait or ended, and how long that is borne."""

import time

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.jobs import Object
from tidegate.infra.cluster.pods.diagnosis import Reason, why_ended, why_from_events, why_waiting
from tidegate.infra.cluster.watcher import ObjectWatcher

EVENTS_S = 8.0  # after this time the events of a pod that has not started are read
PERMANENT_S = 20.0  # a problem that waiting will not solve still gets this much time


class JobState:
    """One Job and its pods, as the watches know them.

    Args:
        cluster: its namespace.
        watcher: of Jobs and pods.
        name: of the Job.
        label: the value of the watcher's index label on the Job's pods.
        uid: of the Job that was created or adopted.
        together: whether its pods only work once all of them run.
        patience_s: how long it may wait to be scheduled.
    """

    def __init__(
        self,
        cluster: Cluster,
        watcher: ObjectWatcher,
        name: str,
        label: str,
        uid: str,
        *,
        together: bool,
        patience_s: float,
    ) -> None:
        self.name = name
        self.notices: list[str] = []
        self._cluster, self._watcher, self._label = cluster, watcher, label
        self._together, self._patience_s = together, patience_s
        self._waiting: tuple[str, float] | None = None  # the reason's kind, and since when
        self._ended: set[str] = set()  # pods whose end was reported
        self._began = self._asked = time.monotonic()
        self.replace(uid)

    def replace(self, uid: str) -> None:
        """The Job was created anew."""
        self._uid, self._seen = uid, False
        self._lists = self._watcher.lists("Job")

    def find(self) -> Object | None:
        """The Job; None while it is not known here yet, or is gone."""
        job = self._watcher.find("Job", self.name)
        # One with another uid is an earlier Job, whose deletion is not known here yet.
        found = job if job is not None and job["metadata"]["uid"] == self._uid else None
        self._seen |= found is not None
        return found

    def is_gone(self) -> bool:
        """Whether it was deleted: it was seen before, or is missing in a list that began after its creation."""
        known = self._watcher.find("Job", self.name) is not None
        return not known and (self._seen or self._watcher.lists("Job") > self._lists + 1)

    def pods(self) -> list[Object]:
        """Its pods, oldest first."""
        return self._watcher.choose("Pod", self._label)

    def ends(self) -> list[Reason]:
        """Why those of its pods ended that did not succeed."""
        return [found for pod in self.pods() if (found := why_ended(pod)) is not None]

    def reason_of_pods(self) -> Reason | None:
        """Why the newest ended pod ended; each pod's end is reported once."""
        found = None
        for pod in self.pods():
            reason = why_ended(pod)
            name = pod["metadata"]["name"]
            if reason and name not in self._ended and pod["status"].get("phase") in ("Failed", "Running"):
                self._ended.add(name)
                self.notices.append(
                    f"{reason.message}; it starts again" if not reason.permanent else reason.message
                )
            found = reason or found
        return found if found and (found.permanent or found.kind == "failed") else None

    def waiting_reason(self) -> Reason | None:
        """Why its pods do not run yet; a new reason is reported."""
        living = [pod for pod in self.pods() if pod["status"].get("phase") in ("Pending", None)]
        begun = [pod for pod in self.pods() if pod["status"].get("phase") == "Running"]
        begun = [] if living and self._together else begun  # all wait for the unscheduled one
        reason = None if begun else next(filter(None, map(why_waiting, living)), None)
        if begun:
            self._waiting, self._began = None, time.monotonic()
        elif reason is None:
            reason = self._reason_from_events(living)
        if reason is not None and (self._waiting is None or self._waiting[0] != reason.kind):
            self._waiting = (reason.kind, time.monotonic())
            self.notices.append(reason.message)
        return reason

    def _reason_from_events(self, pods: list[Object]) -> Reason | None:
        """Read the events of a pod that has not started, or of a Job without pods, every EVENTS_S seconds at most."""
        now = time.monotonic()
        if now - self._began < EVENTS_S or now - self._asked < EVENTS_S:
            return None
        self._asked = now
        name = pods[0]["metadata"]["name"] if pods else self.name
        return why_from_events(self._cluster.list("Event", fields=f"involvedObject.name={name}"))

    def is_out_of_patience(self, reason: Reason) -> bool:
        """Whether the reason ends the step: at once, or because it has lasted too long."""
        if reason.kind in ("oom", "failed", "deadline"):
            return True
        since = time.monotonic() - (self._waiting[1] if self._waiting else self._began)
        return since >= (min(PERMANENT_S, self._patience_s) if reason.permanent else self._patience_s)

    def pod_log(self, lines: int) -> str:
        """The last lines of the newest pod that still has a log; "" if there is none."""
        logs = (self._cluster.logs(pod["metadata"]["name"], tail=lines) for pod in reversed(self.pods()))
        return next(filter(None, logs), "")

    def delete(self) -> None:
        """Delete the Job; its pods end within their grace period."""
        self._cluster.delete("Job", self.name)
