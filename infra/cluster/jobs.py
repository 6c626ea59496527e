"""The Jobs of a run: one for its driver and one for each step, plus a Service where a step has several pods.

Pure functions that return plain dicts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.infra.cluster.pods import security as restricted
from tidegate.infra.cluster.pods.secrets import with_secrets
from tidegate.infra.cluster.pods.signing import with_signing_key

Object = dict[str, Any]

LABEL = "tidegate.dev"
STEP = f"{LABEL}/step"
COMPONENT = "app.kubernetes.io/component"  # the NetworkPolicies select pods by this label
MANAGED = {"app.kubernetes.io/managed-by": "tidegate"}
TTL_S = 3600  # a finished Job stays this long, so that people can inspect it with kubectl
PACK = f"{LABEL}/pack"  # on a pod that runs several trials, one after the other; the value is how many
MEMBERS = f"{LABEL}/members"  # on each of several pods that train together; the value is their number
MEETING_PORT = 8476  # where the first of these pods listens
STORE_FOLDER = "/etc/tidegate/store"
STEP_FAILED = 1  # exit code of a worker whose step raised an error
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
    """The resources and scheduling rules of a pod.

    Attributes:
        cpu: limit in cores; a quarter of it is requested.
        memory: Kubernetes quantity, both request and limit.
        gpus: number of `gpu_resource`.
        gpu_resource: the device plugin's resource name of a GPU.
        node_selector, tolerations, priority_class: as in a Kubernetes pod spec.
        queue: Kueue's local queue; "" where the cluster has no Kueue.
        deadline_s: seconds after which its Job is ended.
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
    """Labels of all objects of a run."""
    return {**MANAGED, f"{LABEL}/run": run}


def selector(labels: Mapping[str, str]) -> str:
    """A label selector for objects that have all of these labels."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def steps_of(run: str) -> str:
    """A label selector for a run's Jobs and their pods, except the driver's."""
    return f"{selector(run_labels(run))},{STEP},{STEP}!=driver"


def owner_of(job: Object) -> Object:
    """The owner reference by which Kubernetes deletes an object together with this Job."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
    }


def condition(obj: Object, kind: str) -> Object | None:
    """The object's condition of type `kind` if its status is True, else None."""
    found = obj.get("status", {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind and one["status"] == "True"), None)


def is_finished(job: Object) -> bool:
    """Whether a Job has completed or failed."""
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
    secrets: Sequence[str] = (),
) -> Object:
    """The Job of a step.

    A step that raised an error (exit code 1) is not retried. A pod that was evicted, or whose node is gone, is
    replaced and does not count as a retry; after any other failure there are at most two retries. Members cannot
    continue without each other: the first failure ends the Job, and the driver starts all members again.
    """
    labels = {**run_labels(run), f"{LABEL}/step": step, f"{LABEL}/step-id": step_id}
    queue = {"kueue.x-k8s.io/queue-name": requirements.queue} if requirements.queue else {}
    pod = _pod(labels, "step", image, argv, requirements, account="tidegate-step", environment={})
    pod["spec"] = with_secrets(pod["spec"], 0, secrets)
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
    """Return the Job with that many parallel pods; each knows its index and the address of the first one."""
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
    pod["spec"]["subdomain"] = name  # with the Service of that name, each pod gets a DNS name
    pod["spec"]["containers"][0]["env"] += [
        {"name": "TIDEGATE_MEMBERS", "value": str(members)},
        {"name": "TIDEGATE_MEETING", "value": f"{name}-0.{name}:{MEETING_PORT}"},
    ]
    return job


def meeting_service(job: Object) -> Object:
    """The headless Service by which the members of a step's Job find each other.

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
    secrets: Sequence[str] = (),
) -> Object:
    """The Job of a run's driver, the only pod with an API token; it is restarted whenever it is killed."""
    labels = {**run_labels(run), f"{LABEL}/step": "driver"}
    pod = _pod(
        labels, "driver", image, argv, requirements, account="tidegate-driver", environment=environment
    )
    pod["spec"] = with_signing_key(with_secrets(pod["spec"], 0, secrets))
    pod["spec"]["automountServiceAccountToken"] = True
    policy: list[Object] = [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "driver", "operator": "In", "values": [1, 2, 3]},
        },
        # A driver that was ended by a signal leaves the run in a state from which the next one resumes.
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
