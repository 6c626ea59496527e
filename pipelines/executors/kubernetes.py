"""Run each step as a Job of the target's cluster; used by a driver that is a Job itself.

Steps that move a release need the cluster's API, which no step's pod has a token for: they are processes of the
driver's own pod. Of a step of several members, any that is lost ends the Job; all of them are started again then.
"""

import json
import time

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
from tidegate.models.config.training import seconds
from tidegate.pipelines.executors.base import Handle, StepCall, member_name
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.executors.manifests import job_of
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.state.finished_steps import RELEASING
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror

PULL_S = 3.0  # between looks at a running step's progress, log and events,
PULL_EACH_S = 0.2  # or this for each step that runs: a thousand must not keep the driver busy
TELL_S = 8.0  # a pod that has not begun after this long is asked why
PERMANENT_S = 20.0  # what time alone will not mend is given this long all the same
TAIL = 200  # lines of a failed step's log that are kept


class KubernetesExecutor:
    """Starts steps of one run as Jobs, and takes over those that it finds.

    Args:
        home: the driver's home.
        run: the run's id.
        resources: what the experiment asks for.
        owner: reference of the driver's Job, which the steps' Jobs go with.
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

    def start(self, call: StepCall) -> Handle:
        """Create the step's Job, or adopt the one that is there.

        Raises:
            ClusterError: the API server refuses the Job.
        """
        if call.step in RELEASING:
            return LocalExecutor().start(call)
        self.mirror.write(f"calls/{call.id}.json", call.model_dump_json().encode())
        return KubernetesHandle(self, call, *self.launch(call))

    def launch(self, call: StepCall) -> tuple[str, bool]:
        """Create what a step needs; return its Job's uid, and whether it was there already and runs."""
        for rank in range(call.members):
            self.mirror.delete(f"errors/{member_name(call.id, rank)}.json")
        target = self.home.target
        assert target is not None
        job = job_of(target, self.run, call.id, call.step, self.resources, self.owner)
        if call.members > 1:
            self.home.cluster.apply(meeting_service(job))
        made, adopted = self._ensure(job)
        return made["metadata"]["uid"], adopted

    def _ensure(self, job: Object) -> tuple[Object, bool]:
        """Create a Job, and return it; True when one that runs was there already."""
        cluster, name = self.home.cluster, job["metadata"]["name"]
        while True:
            try:
                return cluster.create(job), False
            except AlreadyExistsError:
                found = cluster.get("Job", name)
            if found and not is_finished(found) and not found["metadata"].get("deletionTimestamp"):
                return found, True
            cluster.delete("Job", name)  # it failed in an earlier try of the run
            time.sleep(0.3)


class KubernetesHandle:
    """A step's Job."""

    def __init__(self, executor: KubernetesExecutor, call: StepCall, uid: str, adopted: bool) -> None:
        """Wrap a Job that was just created, or adopted."""
        self._executor = executor
        self._call = call
        self._uid = uid
        self._name = step_name(executor.run, call.id)
        self._began = self._pulled = self._asked = time.monotonic()
        self._lists = executor.watcher.lists("Job")
        self._seen = False
        self._waiting: tuple[str, float] | None = None  # the reason's kind, and since when
        self._ended: set[str] = set()  # pods whose end was told
        self._news = ["runs already; going on with it"] if adopted else []
        executor.running += 1

    def poll(self) -> int | None:
        """None while it runs; 0 done, 1 failed, -9 when its Job was deleted."""
        job = self._executor.watcher.find("Job", self._name)
        if job is not None and job["metadata"]["uid"] != self._uid:
            return None  # an earlier one, whose end has not been heard of yet
        if job is None:
            # Seen before, or missing in a list that began after it was created: somebody deleted it.
            gone = self._seen or self._executor.watcher.lists("Job") > self._lists + 1
            self._executor.running -= gone
            return -9 if gone else None
        self._seen = True
        if is_finished(job):
            self._pull()
            reason = why_failed(job)
            if reason is not None:
                found = self._reason_of_pods() or reason
                return self._again() if self._broken(found) else self._failed(found)
            self._executor.running -= 1
            return 0
        if time.monotonic() - self._pulled >= max(PULL_S, PULL_EACH_S * self._executor.running):
            self._pull()
        reason = self._reason_of_pods() or self._why_waiting()
        return self._failed(reason) if reason and self._given_up(reason) else None

    def logs(self) -> str:
        """What it has printed so far, as far as it is known here."""
        return self._call.log.read_text() if self._call.log.exists() else ""

    def news(self) -> list[str]:
        """What people should hear."""
        told, self._news = self._news, []
        return told

    def cancel(self) -> None:
        """Delete the Job; its pods end within their grace period."""
        self._executor.home.cluster.delete("Job", self._name)

    def _pods(self) -> list[Object]:
        return self._executor.watcher.choose("Pod", self._call.id)

    def _reason_of_pods(self) -> Reason | None:
        """Why the newest pod that ended did so; each pod's end is told once."""
        found = None
        for pod in self._pods():
            reason = why_ended(pod)
            name = pod["metadata"]["name"]
            if reason and name not in self._ended and pod["status"].get("phase") in ("Failed", "Running"):
                self._ended.add(name)
                self._news.append(
                    f"{reason.message}; it starts again" if not reason.permanent else reason.message
                )
            found = reason or found
        return found if found and (found.permanent or found.kind == "failed") else None

    def _broken(self, reason: Reason) -> bool:
        """Whether a group of members ended because one was lost, and not because of what one found wrong."""
        if self._call.members == 1 or reason.kind in ("oom", "deadline"):
            return False
        ends = {found.kind for pod in self._pods() if (found := why_ended(pod)) is not None}
        words = self._words()
        return "failed" not in ends and (words is None or words["kind"] == "MemberLostError")

    def _again(self) -> int | None:
        """Start all members again: at once after an eviction, which does not count; else as the driver sees fit."""
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

    def _words(self) -> dict[str, str] | None:
        """What the workers say went wrong: a member's own error rather than that it lost another one."""
        call, mirror = self._call, self._executor.mirror
        names = [f"errors/{member_name(call.id, rank)}.json" for rank in range(call.members)]
        found: list[dict[str, str]] = [json.loads(told) for name in names if (told := mirror.pull(name))]
        return min(found, key=lambda one: one["kind"] == "MemberLostError", default=None)

    def _why_waiting(self) -> Reason | None:
        living = [pod for pod in self._pods() if pod["status"].get("phase") in ("Pending", None)]
        begun = [pod for pod in self._pods() if pod["status"].get("phase") == "Running"]
        begun = [] if living and self._call.members > 1 else begun  # all wait for the one that has no place
        reason = None if begun else next(filter(None, map(why_waiting, living)), None)
        if begun:
            self._waiting, self._began = None, time.monotonic()
        elif reason is None:
            reason = self._why_from_events(living)
        if reason is not None and (self._waiting is None or self._waiting[0] != reason.kind):
            self._waiting = (reason.kind, time.monotonic())
            self._news.append(reason.message)
        return reason

    def _why_from_events(self, pods: list[Object]) -> Reason | None:
        """Ask for the events of a pod that has not begun, or of the Job that has none; now and then."""
        now = time.monotonic()
        if now - self._began < TELL_S or now - self._asked < TELL_S:
            return None
        self._asked = now
        name = pods[0]["metadata"]["name"] if pods else self._name
        return why_from_events(
            self._executor.home.cluster.list("Event", fields=f"involvedObject.name={name}")
        )

    def _given_up(self, reason: Reason) -> bool:
        if reason.kind in ("oom", "failed", "deadline"):
            return True
        since = time.monotonic() - (self._waiting[1] if self._waiting else self._began)
        patience = seconds(self._executor.resources.patience)
        return since >= (min(PERMANENT_S, patience) if reason.permanent else patience)

    def _failed(self, reason: Reason) -> int:
        """Leave the worker's own words, or else the cluster's, where the driver looks for them."""
        executor, call = self._executor, self._call
        executor.running -= 1
        words = self._words()
        if words is None or reason.kind in ("oom", "deadline"):
            words = {"message": reason.message, "trace": self._tail(), "kind": "PodError"}
        path = executor.home.folder_of(executor.run).error(call.id)
        write_atomic(path, json.dumps(words).encode())
        self.cancel()
        return 1

    def _tail(self) -> str:
        """The last lines of its log, from the pod where that is still there."""
        for pod in reversed(self._pods()):
            told = self._executor.home.cluster.logs(pod["metadata"]["name"], tail=TAIL)
            if told:
                if len(told) > len(self.logs()):
                    write_atomic(self._call.log, told.encode())
                return told
        return "\n".join(self.logs().splitlines()[-TAIL:])

    def _pull(self) -> None:
        """Bring what the worker has left so far: its log, its progress, its events for MLflow."""
        self._pulled = time.monotonic()
        mirror, step = self._executor.mirror, self._call.id
        for name in (f"logs/{step}.log", f"progress/{step}.json", f"spool/{step}.jsonl"):
            mirror.pull(name)
        for rank in range(1, self._call.members):
            mirror.pull(f"logs/{member_name(step, rank)}.log")
