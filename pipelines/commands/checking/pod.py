"""What only a pod can check: the image, the Secret (it is not read), and DNS, S3 and MLflow from inside.

One Job of the image `driver` with a step's service account; it is deleted whatever happens.
"""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.images import image
from tidegate.infra.cluster.jobs import Object, PodRequirements, is_finished, step_job
from tidegate.infra.cluster.pods.diagnosis import Reason, why_ended, why_failed, why_from_events, why_waiting
from tidegate.infra.cluster.pods.policy import with_policy
from tidegate.infra.errors import ClusterError
from tidegate.pipelines.result import item
from tidegate.pipelines.state.targets import Target

WAIT_S = 120.0  # an image may have to be pulled
POLL_S = 0.5
REQUIREMENTS = PodRequirements(cpu=0.5, memory="512Mi", deadline_s=180)
NAME = "a pod"


def check_pod(cluster: Cluster, target: Target, mounted: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run the pod; one item for it, and one each for store and MLflow as it sees them.

    Args:
        cluster: the namespace.
        target: its target.
        mounted: names of Secrets that must be there too.
    """
    step_id = f"check-{secrets.token_hex(4)}"
    argv = ["python", "-P", "-m", "tidegate.pipelines.commands.checking.reachability"]
    job = step_job(
        run=step_id,
        step_id=step_id,
        step="check",
        image=image(target.images, "driver"),
        argv=argv,
        requirements=REQUIREMENTS,
        secrets=mounted,
    )
    job = with_policy(job, target.pod_policy("steps"))
    began = time.monotonic()
    try:
        cluster.create(job)
        try:
            said, reason = _until_over(cluster, job["metadata"]["name"], step_id)
        finally:
            cluster.delete("Job", job["metadata"]["name"])
    except ClusterError as error:
        return [item(NAME, False, str(error), "see the message")]
    if said is None:
        return [item(NAME, False, reason, "see the message; `kubectl get events` has more")]
    inside = [{**one, "name": f"{one['name']}, from a pod"} for one in said]
    return [item(NAME, True, f"ran in {time.monotonic() - began:.0f} s"), *inside]


def _until_over(cluster: Cluster, name: str, step_id: str) -> tuple[list[dict[str, Any]] | None, str]:
    """The items that the pod printed, or None and why there are none."""
    deadline, reason = time.monotonic() + WAIT_S, None
    labels = f"tidegate.dev/step-id={step_id}"
    while time.monotonic() < deadline:
        job, pods = cluster.get("Job", name), cluster.list("Pod", labels)
        if job is not None and is_finished(job):
            return _said(cluster, job, pods)
        reason = _why(cluster, name, pods) or reason
        if reason is not None and reason.permanent:
            return None, reason.message
        time.sleep(POLL_S)
    return None, reason.message if reason else f"it did not end in {WAIT_S:g} s"


def _said(cluster: Cluster, job: Object, pods: list[Object]) -> tuple[list[dict[str, Any]] | None, str]:
    for pod in pods:
        for line in cluster.logs(pod["metadata"]["name"]).splitlines():
            if line.startswith("[{"):
                return json.loads(line), ""
    reasons = [*(why_ended(pod) for pod in pods), why_failed(job)]
    return None, next((reason.message for reason in reasons if reason), "it said nothing")


def _why(cluster: Cluster, name: str, pods: list[Object]) -> Reason | None:
    for pod in pods:
        if reason := why_waiting(pod):
            return reason
    names = [name, *(pod["metadata"]["name"] for pod in pods)]
    events = [event for one in names for event in cluster.list("Event", fields=f"involvedObject.name={one}")]
    return why_from_events(events)
