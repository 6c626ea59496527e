"""The Jobs of a run: one for its driver, one a step, with a Service where a step's pods must find each other.

Pure functions that return plain dicts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.infra.cluster import pod_security as restricted

Object = dict[str, Any]

LABEL = "tidegate.dev"
STEP = f"{LABEL}/step"
COMPONENT = "app.kubernetes.io/component"  # what the NetworkPolicies choose pods by
MANAGED = {"app.kubernetes.io/managed-by": "tidegate"}
TTL_S = 3600  # a Job that ended stays as long, to be looked at with kubectl
MEMBERS = f"{LABEL}/members"  # of a pod that is one of several; how many they are
MEETING_PORT = 8476  # where the first of them listens
STORE_FOLDER = "/etc/tidegate/store"
STEP_FAILED = 1  # exit code of a worker whose step failed by itself
ENVIRONMENT = {
    "HOME": "/scratch",
    "TMPDIR": "/scratch",
    "TIDEGATE_HOME": "/scratch/home",
    "BENTOML_HOME": "/scratch/bentoml",
    "MPLCONFIGDIR": "/scratch",
    "AWS_SHARED_CREDENTIALS_FILE": f"{STORE_FOLDER}/credentials",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class PodRequirements:
    """What a pod asks of the cluster.

    Attributes:
        cpu: cores it may use; a quarter of them is reserved.
        memory: Kubernetes quantity, reserved and the limit.
        gpus: devices of `gpu_resource`.
        gpu_resource: the device plugin's name of a GPU.
        node_selector, tolerations, priority_class: as Kubernetes has them.
        queue: Kueue's local queue; "" where the cluster has no Kueue.
        deadline_s: seconds after which it is ended, whatever it does.
    """

    cpu: float
    memory: str
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    priority_class: str = ""
    queue: str = ""
    deadline_s: int = 86400

    def resources(self) -> Object:
        """A container's requests and limits."""
        gpus = {self.gpu_resource: str(self.gpus)} if self.gpus else {}
        limits = {"cpu": f"{round(self.cpu * 1000)}m", "memory": self.memory, **gpus}
        return {"requests": {**limits, "cpu": f"{max(50, round(self.cpu * 250))}m"}, "limits": limits}


def driver_name(run: str) -> str:
    """Name of a run's driver Job."""
    return f"driver-{run}"


def step_name(run: str, step_id: str) -> str:
    """Name of a step's Job: the same for the same step of the same run."""
    return f"{step_id}-{hashlib.sha256(run.encode()).hexdigest()[:6]}"


def run_labels(run: str) -> dict[str, str]:
    """Labels of everything that a run puts into the cluster."""
    return {**MANAGED, f"{LABEL}/run": run}


def selector(labels: Mapping[str, str]) -> str:
    """A label selector that chooses what has all of these labels."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def steps_of(run: str) -> str:
    """A label selector that chooses a run's Jobs and their pods, but for the driver's."""
    return f"{selector(run_labels(run))},{STEP},{STEP}!=driver"


def owner_of(job: Object) -> Object:
    """The reference that makes another object go when this Job goes."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
    }


def condition(obj: Object, kind: str) -> Object | None:
    """An object's condition of that type, if it is true."""
    found = obj.get("status", {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind and one["status"] == "True"), None)


def is_finished(job: Object) -> bool:
    """Whether a Job has ended, well or not."""
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


def step_job(
    *,
    run: str,
    step_id: str,
    step: str,
    image: str,
    argv: Sequence[str],
    requirements: PodRequirements,
    owner: Object | None = None,
    members: int = 1,
) -> Object:
    """The Job of a step.

    A step that failed by itself (exit code 1) is not tried again; one whose pod was evicted, or whose node is gone,
    is, and does not count; any other end counts, twice at most. Of several members none can go on without the others:
    the first that ends badly ends the Job, and the driver starts all again.
    """
    labels = {**run_labels(run), f"{LABEL}/step": step, f"{LABEL}/step-id": step_id}
    queue = {"kueue.x-k8s.io/queue-name": requirements.queue} if requirements.queue else {}
    pod = _pod(labels, "step", image, argv, requirements, account="tidegate-step", environment={})
    policy: list[Object] = [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "step", "operator": "In", "values": [STEP_FAILED]},
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
    job = _job(step_name(run, step_id), {**labels, **queue}, pod, requirements.deadline_s, 2, policy)
    job["metadata"] |= {"ownerReferences": [owner]} if owner else {}
    return job if members == 1 else _of_members(job, members)


def _of_members(job: Object, members: int) -> Object:
    """The same Job with so many pods at once, each of which knows its index and where the first one listens."""
    name, spec = job["metadata"]["name"], job["spec"]
    del spec["podFailurePolicy"]
    spec |= {
        "completionMode": "Indexed",
        "completions": members,
        "parallelism": members,
        "backoffLimit": 0,
    }
    pod = spec["template"]
    pod["metadata"]["labels"] |= {MEMBERS: str(members)}
    pod["spec"]["subdomain"] = name  # with the Service of that name each pod has a name of its own
    pod["spec"]["containers"][0]["env"] += [
        {"name": "TIDEGATE_MEMBERS", "value": str(members)},
        {"name": "TIDEGATE_MEETING", "value": f"{name}-0.{name}:{MEETING_PORT}"},
    ]
    return job


def meeting_service(job: Object) -> Object:
    """The headless Service by which the members of a step's Job find each other, in every try of it.

    Args:
        job: from `step_job`; the Service has the same name and owner.
    """
    metadata = dict(job["metadata"])
    metadata["labels"] = {key: value for key, value in metadata["labels"].items() if "queue" not in key}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "selector": {"batch.kubernetes.io/job-name": metadata["name"]},
            "ports": [{"name": "meeting", "port": MEETING_PORT, "protocol": "TCP"}],
        },
    }


def driver_job(
    *,
    run: str,
    image: str,
    argv: Sequence[str],
    requirements: PodRequirements,
    environment: Mapping[str, str],
) -> Object:
    """The Job of a run's driver: the only pod with a token for the API; begun anew as often as it is killed."""
    labels = {**run_labels(run), f"{LABEL}/step": "driver"}
    pod = _pod(
        labels, "driver", image, argv, requirements, account="tidegate-driver", environment=environment
    )
    pod["spec"]["automountServiceAccountToken"] = True
    policy: list[Object] = [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "driver", "operator": "In", "values": [1, 2, 3]},
        },
        # A driver that is ended from outside left the run in good order for the next one.
        {
            "action": "Ignore",
            "onExitCodes": {"containerName": "driver", "operator": "In", "values": [137, 143]},
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
    return _job(driver_name(run), labels, pod, requirements.deadline_s, 6, policy)


def _job(
    name: str, labels: Object, pod: Object, deadline_s: int, backoff: int, policy: list[Object]
) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": backoff,
            "activeDeadlineSeconds": deadline_s,
            "ttlSecondsAfterFinished": TTL_S,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": policy},
            "template": pod,
        },
    }


def _pod(
    labels: Object,
    name: str,
    image: str,
    argv: Sequence[str],
    requirements: PodRequirements,
    *,
    account: str,
    environment: Mapping[str, str],
) -> Object:
    own: list[Object] = [
        {"name": key, "value": value} for key, value in {**ENVIRONMENT, **environment}.items()
    ]
    own += [
        {"name": "TIDEGATE_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "TIDEGATE_IMAGE", "value": image},
    ]
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(argv),
        "workingDir": "/scratch",
        "env": own,
        "envFrom": [{"configMapRef": {"name": "tidegate"}}],
        "resources": requirements.resources(),
        "securityContext": restricted.CONTAINER,
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "store", "mountPath": STORE_FOLDER, "readOnly": True},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    spec: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": restricted.POD,
        "containers": [container],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "store", "secret": {"secretName": "tidegate-store"}},
        ],
    }
    spec |= {"nodeSelector": dict(requirements.node_selector)} if requirements.node_selector else {}
    spec |= (
        {"tolerations": [dict(one) for one in requirements.tolerations]} if requirements.tolerations else {}
    )
    spec |= {"priorityClassName": requirements.priority_class} if requirements.priority_class else {}
    return {"metadata": {"labels": {**labels, COMPONENT: name}}, "spec": spec}
