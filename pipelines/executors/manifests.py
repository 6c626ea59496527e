"""The objects of a run in a cluster, as `plan --manifests` prints them and the driver applies them. Pure."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from tidegate.infra.cluster.images import image
from tidegate.infra.cluster.jobs import PACK, Object, PodRequirements, driver_job, meeting_service, step_job
from tidegate.infra.cluster.pods.policy import with_policy
from tidegate.models.config.quantities import seconds
from tidegate.pipelines.experiment.notify import Notification
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.finished_steps import RELEASING
from tidegate.pipelines.state.targets import IN_POD, Target
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.code import CodedInputs

Packing = int | Literal["auto"]
YOUNG_S = 600  # a pod with pack: auto takes another trial until it is so old: its start is 2 or 3 % of that
TELLER = PodRequirements(cpu=0.5, memory="512Mi", deadline_s=300)
DRIVER = PodRequirements(cpu=1, memory="1Gi", deadline_s=7 * 86400)


def pod_requirements(resources: Resources, step: str) -> PodRequirements:
    """The resources that a step's pod requests; only training requests GPUs."""
    return PodRequirements(
        cpu=resources.cpu,
        memory=resources.memory,
        gpus=resources.gpus if step == "train" else 0,
        gpu_resource=resources.gpu_resource,
        node_selector=resources.node_selector,
        tolerations=resources.tolerations,
        priority_class=resources.priority_class,
        queue=resources.queue,
        deadline_s=max(1, round(seconds(resources.deadline))),
    )


def job_of(
    target: Target,
    run: str,
    step_id: str,
    step: str,
    resources: Resources,
    owner: Object | None,
    secrets: Sequence[str] = (),
) -> Object:
    """The Job of one step; `secrets` are those of the user's code."""
    requirements = pod_requirements(resources, step)
    job = step_job(
        run=run,
        step_id=step_id,
        step=step,
        image=image(target.images, "train-gpu" if requirements.gpus else "train"),
        argv=_python("worker", target, run, "--step", step_id),
        requirements=requirements,
        owner=owner,
        members=resources.nodes if step == "train" else 1,
        secrets=secrets,
    )
    return with_policy(job, target.pod_policy("steps"))


def pack_id(number: int) -> str:
    """The id of a packed pod in its run, which stands where a step's id does."""
    return f"pack-{number}"


def is_packed(step: str, resources: Resources, pack: Packing) -> bool:
    """Whether this kind of step shares a pod with others."""
    return step == "train" and pack != 1 and resources.nodes == 1


def packed_job_of(
    target: Target,
    run: str,
    pack: str,
    trials: Packing,
    resources: Resources,
    owner: Object | None,
    secrets: Sequence[str] = (),
) -> Object:
    """The Job of a pod that runs several trials, one after the other: it has the resources of one trial.

    `resources.deadline` is a trial's; the pod's own allows for all of them.
    """
    each = pod_requirements(resources, "train")
    limits = ["--young", str(YOUNG_S)] if trials == "auto" else ["--trials", str(trials)]
    whole = each.deadline_s + YOUNG_S if trials == "auto" else each.deadline_s * trials
    job = step_job(
        run=run,
        step_id=pack,
        step="train",
        image=image(target.images, "train-gpu" if each.gpus else "train"),
        argv=_python(
            "packing.worker", target, run, "--pack", pack, *limits, "--deadline", str(each.deadline_s)
        ),
        requirements=replace(each, deadline_s=min(whole, DRIVER.deadline_s)),
        owner=owner,
        secrets=secrets,
    )
    job["metadata"]["labels"] |= {PACK: str(trials)}
    return with_policy(job, target.pod_policy("steps"))


def _python(module: str, target: Target, run: str, *arguments: str) -> list[str]:
    name = f"tidegate.pipelines.executors.{module}"
    return ["python", "-P", "-m", name, "--run", f"{target.store.url}/runs/{run}", *arguments]


def secrets_of(inputs: StepPart) -> tuple[str, ...]:
    """The secrets that a step gets: those of the user's code, where it runs any."""
    return inputs.code.secrets if isinstance(inputs, CodedInputs) and inputs.code else ()


def driver_of(target: Target, run: str, notify: Sequence[Notification] = ()) -> Object:
    """The Job of a run's driver, which gets the secrets of those whom it notifies."""
    secrets = tuple(dict.fromkeys(entry.secret for entry in notify))
    return _driver(target, run, "tidegate.pipelines.driver.job", secrets)


def promoter_of(target: Target, promotion: str) -> Object:
    """The Job that puts a promoted release live, with a driver's account and key."""
    return _driver(target, promotion, "tidegate.pipelines.promotion.job", ())


def _driver(target: Target, run: str, module: str, secrets: Sequence[str]) -> Object:
    job = driver_job(
        run=run,
        image=image(target.images, "driver"),
        argv=["python", "-P", "-m", module],
        requirements=DRIVER,
        environment={"TIDEGATE_RUN": run, IN_POD: target.as_json()},
        secrets=secrets,
    )
    return with_policy(job, target.pod_policy("driver"))


def teller_of(target: Target, secret: str) -> Object:
    """The Job that sends what waits in the store for the channels of a secret."""
    job = step_job(
        run="schedules",
        step_id=f"tell-{hashlib.sha256(secret.encode()).hexdigest()[:8]}",
        step="tell",
        image=image(target.images, "driver"),
        argv=["python", "-P", "-m", "tidegate.pipelines.driver.tell"],
        requirements=TELLER,
        secrets=[secret],
    )
    return with_policy(job, target.pod_policy("driver"))


def jobs_of(target: Target, plan: Plan) -> list[Object]:
    """Every Job of a run, the driver's first; after a Job of several members comes the Service for their rendezvous.

    Of packed pods, those that there are at once: a pod that has had its trials is followed by another one.
    """
    resources, objects = plan.experiment.resources, [driver_of(target, plan.run, plan.experiment.notify)]
    search, trials = plan.experiment.search, plan.of("train")
    if search is not None and trials and is_packed("train", resources, search.pack):
        pods = search.parallelism if search.pack == "auto" else math.ceil(len(trials) / search.pack)
        secrets = secrets_of(trials[0].inputs)
        objects += [
            packed_job_of(target, plan.run, pack_id(number), search.pack, resources, None, secrets)
            for number in range(min(pods, search.parallelism, len(trials)))
        ]
    for step in plan.steps:
        if step.step in RELEASING or (search is not None and is_packed(step.step, resources, search.pack)):
            continue
        objects.append(job_of(target, plan.run, step.id, step.step, resources, None, secrets_of(step.inputs)))
        if step.step == "train" and resources.nodes > 1:
            objects.append(meeting_service(objects[-1]))
    return objects
