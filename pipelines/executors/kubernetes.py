"""Run each step as a Job of the target's cluster; used by a driver that is a Job itself.

Steps that change a release need the cluster's API, and the pods of steps have no token for it: these steps run as
processes in the driver's own pod. If one member of a group is lost, the Job ends and all members are restarted.
"""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tidegate.infra.cluster.jobs import (
    LABEL,
    Object,
    is_finished,
    meeting_service,
    run_labels,
    selector,
    step_name,
)
from tidegate.infra.cluster.pod_diagnosis import Reason, why_ended, why_failed, why_from_events, why_waiting
from tidegate.infra.cluster.watcher import ObjectWatcher
from tidegate.infra.errors import AlreadyExistsError
from tidegate.infra.system.files import write_atomic
from tidegate.models.config.quantities import seconds
from tidegate.pipelines.executors.base import Handle, StepCall, member_name
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.executors.manifests import job_of, secrets_of
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.planning.step import Step
from tidegate.pipelines.state.finished_steps import RELEASING
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror

# A running step's progress, log and events are pulled every PULL_S seconds, or every PULL_EACH_S seconds times the
# number of running steps if that is longer: a thousand steps must not keep the driver busy.
PULL_S = 3.0
PULL_EACH_S = 0.2
EVENTS_S = 8.0  # after this time the events of a pod that has not started are read
PERMANENT_S = 20.0  # a problem that waiting will not solve still gets this much time
TAIL_LINES = 200  # lines kept of a failed step's log


class KubernetesExecutor:
    """Starts the steps of one run as Jobs, and adopts Jobs that already run.

    Args:
        home: the driver's home.
        run: the run's id.
        resources: as in the experiment.
        owner: reference to the driver's Job; the steps' Jobs are deleted with it.
    """

    poll_s = 0.2

    def __init__(self, home: Home, run: str, resources: Resources, owner: Object | None) -> None:
        self.home = home
        self.run = run
        self.resources = resources
        self.owner = owner
        self.mirror = Mirror(home, run)
        self.watcher = ObjectWatcher(home.cluster, selector(run_labels(run)), f"{LABEL}/step-id")
        self.running = 0

    def expect(self, steps: Iterable[Step], log: Callable[[str], Path]) -> None:
        """Nothing: a Job is made when its step starts."""

    def start(self, call: StepCall) -> Handle:
        """Create the step's Job, or adopt the one that exists.

        Raises:
            ClusterError: the API server rejects the Job.
        """
        if call.step in RELEASING:
            return LocalExecutor().start(call)
        self.mirror.write(f"calls/{call.id}.json", call.model_dump_json().encode())
        return KubernetesHandle(self, call, *self.launch(call))

    def launch(self, call: StepCall) -> tuple[str, bool]:
        """Create a step's objects; return its Job's uid, and whether a running Job was adopted."""
        for rank in range(call.members):
            self.mirror.delete(f"errors/{member_name(call.id, rank)}.json")
        target = self.home.target
        assert target is not None
        secrets = secrets_of(call.inputs)
        job = job_of(target, self.run, call.id, call.step, self.resources, self.owner, secrets)
        if call.members > 1:
            self.home.cluster.apply(meeting_service(job))
        made, adopted = self._ensure(job)
        return made["metadata"]["uid"], adopted

    def _ensure(self, job: Object) -> tuple[Object, bool]:
        """Create a Job and return it, with False; or return the running one that already exists, with True."""
        cluster, name = self.home.cluster, job["metadata"]["name"]
        while True:
            try:
                return cluster.create(job), False
            except AlreadyExistsError:
                found = cluster.get("Job", name)
            if found and not is_finished(found) and not found["metadata"].get("deletionTimestamp"):
                return found, True
            cluster.delete("Job", name)  # left by an earlier attempt of the run
            time.sleep(0.3)


class KubernetesHandle:
    """A step's Job."""

    def __init__(self, executor: KubernetesExecutor, call: StepCall, uid: str, adopted: bool) -> None:
        """Wrap a Job that was just created or adopted."""
        self._executor = executor
        self._call = call
        self._uid = uid
        self._name = step_name(executor.run, call.id)
        self._began = self._pulled = self._asked = time.monotonic()
        self._lists = executor.watcher.lists("Job")
        self._seen = False
        self._waiting: tuple[str, float] | None = None  # the reason's kind, and since when
        self._ended: set[str] = set()  # pods whose end was reported
        self._notices = ["already running; its Job is adopted"] if adopted else []
        executor.running += 1

    def poll(self) -> int | None:
        """None while it runs; 0 done, 1 failed, -9 when its Job was deleted."""
        job = self._executor.watcher.find("Job", self._name)
        if job is not None and job["metadata"]["uid"] != self._uid:
            return None  # an earlier Job, whose deletion is not known here yet
        if job is None:
            # Seen before, or missing in a list that began after its creation: it was deleted.
            gone = self._seen or self._executor.watcher.lists("Job") > self._lists + 1
            self._executor.running -= gone
            return -9 if gone else None
        self._seen = True
        if is_finished(job):
            self._pull()
            reason = why_failed(job)
            if reason is not None:
                found = self._reason_of_pods() or reason
                return self._restart() if self._lost_a_member(found) else self._failed(found)
            self._executor.running -= 1
            return 0
        if time.monotonic() - self._pulled >= max(PULL_S, PULL_EACH_S * self._executor.running):
            self._pull()
        reason = self._reason_of_pods() or self._waiting_reason()
        return self._failed(reason) if reason and self._out_of_patience(reason) else None

    def logs(self) -> str:
        """What it has printed so far, as of the last pull."""
        return self._call.log.read_text() if self._call.log.exists() else ""

    def notices(self) -> list[str]:
        """New notices since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def cancel(self) -> None:
        """Delete the Job; its pods end within their grace period."""
        self._executor.home.cluster.delete("Job", self._name)

    def _pods(self) -> list[Object]:
        return self._executor.watcher.choose("Pod", self._call.id)

    def _reason_of_pods(self) -> Reason | None:
        """Why the newest ended pod ended; each pod's end is reported once."""
        found = None
        for pod in self._pods():
            reason = why_ended(pod)
            name = pod["metadata"]["name"]
            if reason and name not in self._ended and pod["status"].get("phase") in ("Failed", "Running"):
                self._ended.add(name)
                self._notices.append(
                    f"{reason.message}; it starts again" if not reason.permanent else reason.message
                )
            found = reason or found
        return found if found and (found.permanent or found.kind == "failed") else None

    def _lost_a_member(self, reason: Reason) -> bool:
        """Whether a group ended because a member was lost, rather than by an error of a member."""
        if self._call.members == 1 or reason.kind in ("oom", "deadline"):
            return False
        ends = {found.kind for pod in self._pods() if (found := why_ended(pod)) is not None}
        error = self._worker_error()
        return "failed" not in ends and (error is None or error["kind"] == "MemberLostError")

    def _restart(self) -> int | None:
        """Restart all members: at once after an eviction, which is not counted; otherwise the scheduler decides."""
        executor = self._executor
        evicted = any(
            found.kind == "evicted" for pod in self._pods() if (found := why_ended(pod)) is not None
        )
        executor.home.cluster.delete("Job", self._name)
        if not evicted:
            executor.running -= 1
            return -9
        self._uid, _ = executor.launch(self._call)
        self._seen, self._lists = False, executor.watcher.lists("Job")
        return None

    def _worker_error(self) -> dict[str, str] | None:
        """The error that the workers wrote; a member's own error is preferred to the loss of another one."""
        call, mirror = self._call, self._executor.mirror
        names = [f"errors/{member_name(call.id, rank)}.json" for rank in range(call.members)]
        found: list[dict[str, str]] = [json.loads(text) for name in names if (text := mirror.pull(name))]
        return min(found, key=lambda one: one["kind"] == "MemberLostError", default=None)

    def _waiting_reason(self) -> Reason | None:
        living = [pod for pod in self._pods() if pod["status"].get("phase") in ("Pending", None)]
        begun = [pod for pod in self._pods() if pod["status"].get("phase") == "Running"]
        begun = [] if living and self._call.members > 1 else begun  # all wait for the unscheduled one
        reason = None if begun else next(filter(None, map(why_waiting, living)), None)
        if begun:
            self._waiting, self._began = None, time.monotonic()
        elif reason is None:
            reason = self._reason_from_events(living)
        if reason is not None and (self._waiting is None or self._waiting[0] != reason.kind):
            self._waiting = (reason.kind, time.monotonic())
            self._notices.append(reason.message)
        return reason

    def _reason_from_events(self, pods: list[Object]) -> Reason | None:
        """Read the events of a pod that has not started, or of a Job without pods, every EVENTS_S seconds at most."""
        now = time.monotonic()
        if now - self._began < EVENTS_S or now - self._asked < EVENTS_S:
            return None
        self._asked = now
        name = pods[0]["metadata"]["name"] if pods else self._name
        return why_from_events(
            self._executor.home.cluster.list("Event", fields=f"involvedObject.name={name}")
        )

    def _out_of_patience(self, reason: Reason) -> bool:
        if reason.kind in ("oom", "failed", "deadline"):
            return True
        since = time.monotonic() - (self._waiting[1] if self._waiting else self._began)
        patience = seconds(self._executor.resources.patience)
        return since >= (min(PERMANENT_S, patience) if reason.permanent else patience)

    def _failed(self, reason: Reason) -> int:
        """Write the worker's own error, or else the cluster's reason, where the driver looks for it."""
        executor, call = self._executor, self._call
        executor.running -= 1
        error = self._worker_error()
        if error is None or reason.kind in ("oom", "deadline"):
            error = {"message": reason.message, "trace": self._log_tail(), "kind": "PodError"}
        path = executor.home.folder_of(executor.run).error(call.id)
        write_atomic(path, json.dumps(error).encode())
        self.cancel()
        return 1

    def _log_tail(self) -> str:
        """The last lines of its log, from the pod if it still exists."""
        for pod in reversed(self._pods()):
            text = self._executor.home.cluster.logs(pod["metadata"]["name"], tail=TAIL_LINES)
            if text:
                if len(text) > len(self.logs()):
                    write_atomic(self._call.log, text.encode())
                return text
        return "\n".join(self.logs().splitlines()[-TAIL_LINES:])

    def _pull(self) -> None:
        """Copy what the worker has written so far: its log, its progress, its events for MLflow."""
        self._pulled = time.monotonic()
        mirror, step = self._executor.mirror, self._call.id
        for name in (f"logs/{step}.log", f"progress/{step}.json", f"spool/{step}.jsonl"):
            mirror.pull(name)
        for rank in range(1, self._call.members):
            mirror.pull(f"logs/{member_name(step, rank)}.log")
