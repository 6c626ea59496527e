"""Shards on a cluster: the Job is made, or one that is there is adopted, and followed from here."""

import sys
import time
from collections.abc import Sequence

from tidegate.infra.cluster.indexed_job import index_of
from tidegate.infra.cluster.jobs import Object, is_finished
from tidegate.infra.cluster.pods.diagnosis import (
    Reason,
    why_ended,
    why_failed,
    why_from_events,
    why_waiting,
)
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.sharded_prediction.document import BatchPlan, ShardFailed
from tidegate.pipelines.sharded_prediction.job import PodSize, job_name, job_of, shards_of
from tidegate.pipelines.sharded_prediction.output import (
    Progress,
    Ran,
    done_shards,
    failures,
    progress,
    remaining,
    told,
)
from tidegate.pipelines.sharded_prediction.place import OutputPlace
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import Release

POLL_S = 2.0
PODS_S = 6.0  # between looks at the pods
DELETED = "its Job was deleted"
PERMANENT_S = 20.0  # a problem that waiting does not solve still gets this much time


def check_remote(release: Release | None, sources: Sequence[str], output: str) -> None:
    """Refuse what pods cannot reach; raises UsageError."""
    if release is None:
        raise UsageError("a bundle's folder is given with --target; expected an endpoint of it; name one")
    here = next((source for source in (*sources, output) if "://" not in source), None)
    if here is not None:
        option = "--output" if here == output else "--input"
        raise UsageError(
            f"{option} {here} is on this machine, and the pods are not; expected s3://, gs:// or az://; copy it there, "
            "or leave --target out"
        )


def run_job(
    home: Home,
    release: Release,
    plan: BatchPlan,
    place: OutputPlace,
    size: PodSize,
    resources: Resources,
    detach: bool,
) -> Ran:
    """Have the shards predicted that are left; of a Job that runs already its own, whatever became of them so far.

    Ctrl-C stops only the following; the Job goes on.

    Raises:
        PipelineError: the Job was deleted, or its pods cannot start.
    """
    assert home.target is not None
    name = job_name(plan, place.url)
    shards = _running(home.cluster.get("Job", name), size)
    if shards is None:
        left = remaining(place, plan)
        if not left:
            return Ran([], [])
        shards = _create(home, job_of(home.target, release, plan, place.url, left, size, resources), size)
    if detach:
        return Ran(shards, None)
    try:
        return Ran(shards, _Following(home, plan, place, shards).to_the_end())
    except KeyboardInterrupt:
        print(
            f"\njob {name} continues in the cluster; the same command follows it again, "
            f"`kubectl delete job {name}` stops it",
            file=sys.stderr,
        )
        raise


def _running(job: Object | None, size: PodSize) -> list[int] | None:
    """The shards of a Job that runs, which is said; else None."""
    if job is None or is_finished(job) or job["metadata"].get("deletionTimestamp"):
        return None
    kept = "" if size == PodSize() else ", and keeps its own --cpu, --memory and --parallel"
    print(f"job {job['metadata']['name']} is running already; it is followed{kept}", file=sys.stderr)
    return shards_of(job)


def _create(home: Home, job: Object, size: PodSize) -> list[int]:
    """Create the Job, in the place of one that has ended; its shards, or those of one that somebody else began."""
    cluster, name = home.cluster, job["metadata"]["name"]
    while True:
        try:
            cluster.create(job)
            spec = job["spec"]
            at_once = "" if spec["parallelism"] == spec["completions"] else f", {spec['parallelism']} at once"
            print(f"job {name}: {spec['completions']} pods{at_once}", file=sys.stderr)
            return shards_of(job)
        except AlreadyExistsError:
            found = cluster.get("Job", name)
        if (shards := _running(found, size)) is not None:
            return shards
        if found:
            cluster.delete("Job", name, uid=found["metadata"]["uid"])
        time.sleep(0.3)


class _Following:
    """Looks at output, Job and pods until all has ended, and tells what is new."""

    def __init__(self, home: Home, plan: BatchPlan, place: OutputPlace, shards: Sequence[int]) -> None:
        self._cluster, self._plan, self._place = home.cluster, plan, place
        self._shards, self._name = list(shards), job_name(plan, place.url)
        self._known = Progress(progress(place).done - set(shards), frozenset())
        self._ended: set[str] = set()  # pods whose end was told
        self._waits: tuple[str, float] | None = None  # for what kind of reason, and since when

    def to_the_end(self) -> list[ShardFailed]:
        looked = 0.0
        while True:
            job = self._cluster.get("Job", self._name)  # before the output: what it has done is there then
            self._tell_shards()
            if job is None or job["metadata"].get("deletionTimestamp"):
                return self._over(DELETED)
            if is_finished(job):
                self._look_at_pods()
                reason = why_failed(job)
                return self._over(reason.message if reason else "its pods left no word")
            if time.monotonic() - looked > PODS_S:
                looked = time.monotonic()
                self._look_at_pods()
            time.sleep(POLL_S)

    def _tell_shards(self) -> None:
        now = progress(self._place)
        for done in done_shards(self._place, now.done - self._known.done):
            print(told(done, self._plan), file=sys.stderr)
        for failed in failures(self._place, now.failed - self._known.failed):
            print(told(failed, self._plan), file=sys.stderr)
        self._known = now

    def _look_at_pods(self) -> None:
        pods = self._cluster.list("Pod", f"batch.kubernetes.io/job-name={self._name}")
        for pod in pods:
            reason, name = why_ended(pod), pod["metadata"]["name"]
            if reason is not None and reason.kind != "failed" and name not in self._ended:
                self._ended.add(name)
                print(f"shard {self._shard_of(pod)}: {_of_shards(reason.message)}", file=sys.stderr)
        waiting = [pod for pod in pods if pod["status"].get("phase") in ("Pending", None)]
        runs = any(pod["status"].get("phase") == "Running" for pod in pods)
        reason = next(filter(None, map(why_waiting, waiting)), None)
        if reason is None and (waiting or not pods):
            name = waiting[0]["metadata"]["name"] if waiting else self._name
            reason = why_from_events(self._cluster.list("Event", fields=f"involvedObject.name={name}"))
        self._tell_waiting(reason, runs)

    def _tell_waiting(self, reason: Reason | None, runs: bool) -> None:
        if reason is None:
            self._waits = None
        elif self._waits is None or self._waits[0] != reason.kind:
            self._waits = (reason.kind, time.monotonic())
            print(f"job {self._name} waits: {_of_shards(reason.message)}", file=sys.stderr)
        elif reason.permanent and not runs and time.monotonic() - self._waits[1] > PERMANENT_S:
            self._cluster.delete("Job", self._name)
            raise PipelineError(
                f"job {self._name} cannot start: {_of_shards(reason.message)}; give the same command again"
            )

    def _shard_of(self, pod: Object) -> int:
        place = index_of(pod)
        return self._shards[place] if place < len(self._shards) else place

    def _over(self, why: str) -> list[ShardFailed]:
        """What failed; of shards that left no word why the Job, or their pod, ended."""
        left = [shard for shard in self._shards if shard not in self._known.done]
        said = {failed.shard: failed for failed in failures(self._place, left)}
        asked = left and why != DELETED  # whose pods are deleted with it
        pods = self._cluster.list("Pod", f"batch.kubernetes.io/job-name={self._name}") if asked else []
        ends = {self._shard_of(pod): found for pod in pods if (found := why_ended(pod)) is not None}
        return [
            said.get(shard) or ShardFailed(shard=shard, message=_of_shards(_why(ends.get(shard), why)))
            for shard in left
        ]


def _why(reason: Reason | None, otherwise: str) -> str:
    return otherwise if reason is None else reason.message


def _of_shards(sentence: str) -> str:
    """What is said of a step's pod, with the options of this command."""
    return (
        sentence.replace("resources.memory, or use smaller batches or data", "--memory")
        .replace("then `tidegate resume`", "then give the command again")
        .replace("(resources)", "(--cpu, --memory)")
        .replace(
            "give the step more (resources.memory), or use smaller batches or data", "give it more --memory"
        )
        .replace("free some space, or choose another --home", "give its node more, or use more --shards")
    )
