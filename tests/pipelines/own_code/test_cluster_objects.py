"""What a project adds to the objects of a cluster: its secrets, mounted where its code runs, and nowhere else."""

from typing import Any

from tests.pipelines.walks.test_golden import FACTS, TARGETS
from tidegate.infra.store import Ref
from tidegate.pipelines.executors.manifests import jobs_of
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.hosting.manifests import endpoint_objects_of
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.planning.project.parts import Project, Reach
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import EndpointState


def mounted(pod: dict[str, Any]) -> list[str]:
    """Where Secrets are mounted in a pod's only container, and that each has its volume."""
    (container,) = pod["containers"]
    found = {
        mount["name"]: mount["mountPath"]
        for mount in container["volumeMounts"]
        if mount["name"].startswith("secret-")
    }
    volumes = {
        volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if volume["name"] in found
    }
    assert volumes.keys() == found.keys()
    return [f"{volumes[name]} at {path}" for name, path in found.items()]


def test_secrets_are_mounted_where_the_code_runs() -> None:
    snapshot = Ref(digest="0" * 64, size=1, name="code.zip")
    project = Project("/shop", snapshot, (".",), "shop.net:build", "", {"train": Reach({"shop/net.py": "1"})})
    document = {"name": "shop", "data": {"dataset": "digits"}, "model": {"function": "shop.net:build"}}
    experiment = validate(document | {"code": {"secrets": ["warehouse"]}}, "here")
    target = Target.model_validate(TARGETS["plain"])
    plan = make_plan(experiment, FACTS.__class__(**{**vars(FACTS), "project": project}))
    jobs = {
        job["metadata"]["labels"]["tidegate.dev/step"]: job
        for job in jobs_of(target, plan)
        if job["kind"] == "Job"
    }
    found = {step: mounted(job["spec"]["template"]["spec"]) for step, job in jobs.items()}
    mount = ["warehouse at /etc/tidegate/secrets/warehouse"]
    assert found == {"driver": [], "prepare": mount, "train": mount, "select": mount, "package": mount}
    objects = endpoint_objects_of(target, plan, EndpointState(name="shop"))
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    assert mounted(deployment["spec"]["template"]["spec"]) == mount
