"""The Indexed Job of a batch prediction: a pod a shard, which obeys the target's policy as steps do. Pure."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.infra.cluster.endpoint_pod import BUNDLE, bundle_fetcher, thread_variables
from tidegate.infra.cluster.images import image
from tidegate.infra.cluster.indexed_job import indexed
from tidegate.infra.cluster.jobs import PodRequirements, step_job, step_name
from tidegate.infra.cluster.pods.policy import with_policy
from tidegate.infra.cluster.pods.signing import with_trusted_keys
from tidegate.models.config.quantities import memory_bytes
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.part import MEMORY
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.sharded_prediction.document import BatchPlan
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import Release

Object = dict[str, Any]
STEP = "predict"
LONGEST_S = 7 * 86400
CPU, LEAST_MEMORY = 1.0, "2Gi"  # of a shard's pod, which reads and writes beside the model
WORKER = "tidegate.pipelines.sharded_prediction.worker"
PARALLEL = 32  # pods at once: a namespace has others too


@dataclass(frozen=True)
class PodSize:
    """CPUs and memory of a shard's pod, and how many pods run at once; what is None is chosen."""

    cpu: float | None = None
    memory: str | None = None
    parallel: int | None = None

    def check(self) -> None:
        """Raise UsageError for what is no size."""
        if self.cpu is not None and not 0 < self.cpu < 1000:
            raise UsageError(f"--cpu is {self.cpu:g}; expected a number above 0, such as 2; correct it")
        if self.memory is not None and not re.fullmatch(MEMORY, self.memory):
            raise UsageError(f"--memory is {self.memory!r}; expected a quantity such as 4Gi; correct it")
        if self.parallel is not None and self.parallel < 1:
            raise UsageError(f"--parallel is {self.parallel}; expected 1 or more; correct it")


def run_of(plan: BatchPlan, output: str) -> str:
    """What stands where a run's id does in the labels of its Job: 10 hex digits of a digest of all that it does."""
    return f"predict-{hashlib.sha256(plan.content() + output.encode()).hexdigest()[:10]}"


def job_name(plan: BatchPlan, output: str) -> str:
    """The name of its Job: the same for the same plan and output."""
    return step_name(run_of(plan, output), STEP)


def shards_of(job: Object) -> list[int]:
    """The shards of a Job, whatever containers and rules the cluster has added to it."""
    commands = [one.get("command", []) for one in job["spec"]["template"]["spec"]["containers"]]
    command = next(one for one in commands if WORKER in one)
    return [int(number) for number in command[command.index("--shards") + 1].split(",")]


def job_of(
    target: Target,
    release: Release,
    plan: BatchPlan,
    output: str,
    shards: Sequence[int],
    size: PodSize,
    resources: Resources,
) -> Object:
    """The Job.

    Args:
        target: the cluster.
        release: whose bundle predicts.
        plan: what is predicted.
        output: the URL of the output.
        shards: those that are not done; the pod with index i does the i-th of them.
        size: of a pod, and how many run at once.
        resources: of the experiment, whose node selector, tolerations, priority and queue the pods have.
    """
    needs = _requirements(release, size, resources)
    container = image(target.images, "train")
    argv = ["python", "-P", "-m", WORKER, "--output", output, "--bundle", f"{BUNDLE}/release"]
    job = step_job(
        run=run_of(plan, output),
        step_id=STEP,
        step=STEP,
        image=container,
        argv=[*argv, "--shards", ",".join(map(str, shards))],
        requirements=needs,
        secrets=release.secrets,
    )
    fetcher = bundle_fetcher(plan.bundle, container, needs.resources())
    made = indexed(job, len(shards), size.parallel or PARALLEL, fetcher)
    pod = made["spec"]["template"]["spec"]
    pod["containers"][0]["env"] = [*pod["containers"][0]["env"], *thread_variables()]
    if release.signed_by:
        made["spec"]["template"]["spec"] = with_trusted_keys(pod)
    return with_policy(made, target.pod_policy("steps"))


def _requirements(release: Release, size: PodSize, resources: Resources) -> PodRequirements:
    served = Serving.model_validate(release.serving).resources
    chosen = served.memory if memory_bytes(served.memory) > memory_bytes(LEAST_MEMORY) else LEAST_MEMORY
    return PodRequirements(
        cpu=size.cpu or max(CPU, served.cpu),
        memory=size.memory or chosen,
        node_selector=resources.node_selector,
        tolerations=resources.tolerations,
        priority_class=resources.priority_class,
        queue=resources.queue,
        deadline_s=LONGEST_S,
    )
