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
from tidegate.infra.cluster.pods.diagnosis import Reason, why_failed
from tidegate.infra.cluster.watcher import ObjectWatcher
from tidegate.infra.errors import AlreadyExistsError
from tidegate.infra.system.files import write_atomic
from tidegate.models.config.quantities import seconds
from tidegate.pipelines.executors.base import Handle, StepCall, member_name
from tidegate.pipelines.executors.job_state import JobState
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.executors.manifests import Packing, is_packed, job_of, secrets_of
from tidegate.pipelines.executors.packing.handle import PackedHandle
from tidegate.pipelines.executors.packing.pool import PackPool
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.planning.step import Step
from tidegate.pipelines.state.finished_steps import RELEASING
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror

# A running step's progress, log and events are pulled every PULL_S seconds, or every PULL_EACH_S seconds times the
# number of running steps if that is longer: a thousand steps must not keep the driver busy.
PULL_S = 3.0
PULL_EACH_S = 0.2
POLL_S = 0.2
TAIL_LINES = 200  # lines kept of a failed step's log


class KubernetesExecutor:
    """Starts the steps of one run as Jobs, and adopts Jobs that already run.

    Args:
        home: the driver's home.
        run: the run's id.
        resources: as in the experiment.
        owner: reference to the driver's Job; the steps' Jobs are deleted with it.
        pack: how many trials run in one pod.
    """

    def __init__(
        self, home: Home, run: str, resources: Resources, owner: Object | None, pack: Packing = 1
    ) -> None:
        self.home = home
        self.run = run
        self.resources = resources
        self.owner = owner
        self.mirror = Mirror(home, run)
        self.watcher = ObjectWatcher(home.cluster, selector(run_labels(run)), f"{LABEL}/step-id")
        self.running = 0
        self._pack = pack
        self._packs = PackPool(self, pack)
        self._errors: set[str] | None = None  # the errors that there may be in the store

    def expect(self, steps: Iterable[Step], log: Callable[[str], Path]) -> None:
        """Nothing: a Job is made when its step starts."""

    def start(self, call: StepCall) -> Handle:
        """Create the step's Job, or adopt the one that exists.

        Raises:
            ClusterError: the API server rejects the Job.
        """
        if call.step in RELEASING:
            return LocalExecutor().start(call)
        if is_packed(call.step, self.resources, self._pack):
            return self._start_packed(call)
        if call.step != "train":
            self._packs.close()
        self._hand_over(call)
        return KubernetesHandle(self, call, *self.launch(call))

    def _start_packed(self, call: StepCall) -> PackedHandle:
        pack = self._packs.running(call)
        if pack is not None:
            return PackedHandle(
                self, self._packs, pack, call, "already running in a packed pod, which is adopted"
            )
        self._hand_over(call)
        self._remove_errors(call)
        return PackedHandle(self, self._packs, self._packs.give(call), call)

    def _hand_over(self, call: StepCall) -> None:
        self.mirror.write(f"calls/{call.id}.json", call.model_dump_json().encode())

    def _remove_errors(self, call: StepCall) -> None:
        """Remove the errors of an earlier attempt from the store."""
        if self._errors is None:
            prefix = self.mirror.key("")
            self._errors = {
                key.removeprefix(prefix) for key in self.mirror.home.store.keys(f"{prefix}errors/")
            }
        for name in _error_names(call):
            if name in self._errors:
                self.mirror.delete(name)
            self._errors.add(name)  # its worker may write it

    def end(self, call: StepCall, code: int) -> None:
        """A step has ended: keep nothing of it, as there may be thousands; one that was killed starts again."""
        self.running -= 1
        if code >= 0 and self._errors is not None:
            self._errors.difference_update(_error_names(call))
        self.watcher.forget(call.id)
        self.mirror.forget(f"calls/{call.id}.json", *_files(call))

    def launch(self, call: StepCall) -> tuple[str, bool]:
        """Create a step's objects; return its Job's uid, and whether a running Job was adopted."""
        self._remove_errors(call)
        self.watcher.expect(call.id)
        target = self.home.target
        assert target is not None
        secrets = secrets_of(call.inputs)
        job = job_of(target, self.run, call.id, call.step, self.resources, self.owner, secrets)
        if call.members > 1:
            self.home.cluster.apply(meeting_service(job))
        made, adopted = self.ensure(job)
        return made["metadata"]["uid"], adopted

    def state_of(self, name: str, label: str, uid: str, *, together: bool = False) -> JobState:
        """What becomes of a Job of this run; arguments as of `JobState`."""
        patience_s = seconds(self.resources.patience)
        return JobState(
            self.home.cluster, self.watcher, name, label, uid, together=together, patience_s=patience_s
        )

    def ensure(self, job: Object) -> tuple[Object, bool]:
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

    @property
    def poll_s(self) -> float:
        """Seconds between two polls of the running steps."""
        return min(POLL_S, self._packs.look_s)

    @property
    def pull_s(self) -> float:
        """Seconds between two pulls of what a running step has written."""
        return max(PULL_S, PULL_EACH_S * self.running)

    def pull(self, call: StepCall, *, ended: bool = False) -> None:
        """Copy what the worker has written so far: its log, its events for MLflow, its progress until it has ended."""
        for name in _files(call):
            if not (ended and name.startswith("progress/")):
                self.mirror.pull(name)

    def worker_error(self, call: StepCall) -> dict[str, str] | None:
        """The error that the workers wrote; a member's own error is preferred to the loss of another one."""
        names = _error_names(call)
        found: list[dict[str, str]] = [json.loads(text) for name in names if (text := self.mirror.pull(name))]
        return min(found, key=lambda one: one["kind"] == "MemberLostError", default=None)

    def write_error(self, call: StepCall, reason: Reason, trace: str) -> None:
        """Write the worker's own error, or else the cluster's reason and this trace, where the driver looks for it."""
        error = self.worker_error(call)
        if error is None or reason.kind in ("oom", "deadline"):
            error = {"message": reason.message, "trace": trace, "kind": "PodError"}
        write_atomic(self.home.folder_of(self.run).error(call.id), json.dumps(error).encode())


def _error_names(call: StepCall) -> list[str]:
    return [f"errors/{member_name(call.id, rank)}.json" for rank in range(call.members)]


def _files(call: StepCall) -> list[str]:
    logs = [f"logs/{member_name(call.id, rank)}.log" for rank in range(call.members)]
    return [*logs, f"progress/{call.id}.json", f"spool/{call.id}.jsonl"]


def _log_tail(call: StepCall, job: JobState) -> str:
    """The last lines of its log, from the pod if it still exists."""
    known = call.log.read_text() if call.log.exists() else ""
    text = job.pod_log(TAIL_LINES)
    if len(text) > len(known):
        write_atomic(call.log, text.encode())
    return text or "\n".join(known.splitlines()[-TAIL_LINES:])


class KubernetesHandle:
    """A step's Job."""

    def __init__(self, executor: KubernetesExecutor, call: StepCall, uid: str, adopted: bool) -> None:
        """Wrap a Job that was just created or adopted."""
        self._executor = executor
        self._call = call
        self._pulled = time.monotonic()
        name = step_name(executor.run, call.id)
        self._job = executor.state_of(name, call.id, uid, together=call.members > 1)
        self._job.notices += ["already running; its Job is adopted"] if adopted else []
        executor.running += 1

    def poll(self) -> int | None:
        """None while it runs; 0 done, 1 failed, -9 when its Job was deleted."""
        job = self._job.find()
        if job is None:
            return self._over(-9) if self._job.is_gone() else None
        if is_finished(job):
            self._executor.pull(self._call, ended=True)
            reason = why_failed(job)
            if reason is not None:
                found = self._job.reason_of_pods() or reason
                return self._restart() if self._lost_a_member(found) else self._failed(found)
            return self._over(0)
        if time.monotonic() - self._pulled >= self._executor.pull_s:
            self._pulled = time.monotonic()
            self._executor.pull(self._call)
        reason = self._job.reason_of_pods() or self._job.waiting_reason()
        return self._failed(reason) if reason and self._job.is_out_of_patience(reason) else None

    def logs(self) -> str:
        """What it has printed so far, as of the last pull."""
        return self._call.log.read_text() if self._call.log.exists() else ""

    def notices(self) -> list[str]:
        """New notices since the last call."""
        notices, self._job.notices = self._job.notices, []
        return notices

    def cancel(self) -> None:
        """Delete the Job; its pods end within their grace period."""
        self._job.delete()

    def _lost_a_member(self, reason: Reason) -> bool:
        """Whether a group ended because a member was lost, rather than by an error of a member."""
        if self._call.members == 1 or reason.kind in ("oom", "deadline"):
            return False
        ends = {found.kind for found in self._job.ends()}
        error = self._executor.worker_error(self._call)
        return "failed" not in ends and (error is None or error["kind"] == "MemberLostError")

    def _restart(self) -> int | None:
        """Restart all members: at once after an eviction, which is not counted; otherwise the scheduler decides."""
        evicted = any(found.kind == "evicted" for found in self._job.ends())
        self._job.delete()
        if not evicted:
            return self._over(-9)
        self._job.replace(self._executor.launch(self._call)[0])
        return None

    def _failed(self, reason: Reason) -> int:
        self._executor.write_error(self._call, reason, _log_tail(self._call, self._job))
        self.cancel()
        return self._over(1)

    def _over(self, code: int) -> int:
        self._executor.end(self._call, code)
        return code
