"""The objects of a run in a cluster, as `plan --manifests` prints them and the driver applies them. Pure."""

from collections.abc import Sequence

from tidegate.infra.cluster.images import image
from tidegate.infra.cluster.jobs import Object, PodRequirements, driver_job, meeting_service, step_job
from tidegate.models.config.quantities import seconds
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.finished_steps import RELEASING
from tidegate.pipelines.state.targets import IN_POD, Target
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.code import CodedInputs

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
    return step_job(
        run=run,
        step_id=step_id,
        step=step,
        image=image(target.images, "train-gpu" if requirements.gpus else "train"),
        argv=[
            "python",
            "-P",
            "-m",
            "tidegate.pipelines.executors.worker",
            "--run",
            f"{target.store.url}/runs/{run}",
            "--step",
            step_id,
        ],
        requirements=requirements,
        owner=owner,
        members=resources.nodes if step == "train" else 1,
        secrets=secrets,
    )


def secrets_of(inputs: StepPart) -> tuple[str, ...]:
    """The secrets that a step gets: those of the user's code, where it runs any."""
    return inputs.code.secrets if isinstance(inputs, CodedInputs) and inputs.code else ()


def driver_of(target: Target, run: str) -> Object:
    """The Job of a run's driver."""
    return driver_job(
        run=run,
        image=image(target.images, "driver"),
        argv=["python", "-P", "-m", "tidegate.pipelines.driver.job"],
        requirements=DRIVER,
        environment={"TIDEGATE_RUN": run, IN_POD: target.model_dump_json()},
    )


def jobs_of(target: Target, plan: Plan) -> list[Object]:
    """Every Job of a run, the driver's first; after a Job of several members comes the Service for their rendezvous."""
    resources, objects = plan.experiment.resources, [driver_of(target, plan.run)]
    for step in plan.steps:
        if step.step not in RELEASING:
            objects.append(
                job_of(target, plan.run, step.id, step.step, resources, None, secrets_of(step.inputs))
            )
            if step.step == "train" and resources.nodes > 1:
                objects.append(meeting_service(objects[-1]))
    return objects
