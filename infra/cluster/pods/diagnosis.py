"""Why a pod does not run, or why it failed, as sentences that a person can act on. Pure functions."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.infra.cluster.jobs import condition

Object = dict[str, Any]
IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
MAX_LENGTH = 300


@dataclass(frozen=True)
class Reason:
    """Why a pod waits or failed.

    Attributes:
        kind: image, config, unschedulable, mount, quota, forbidden, oom, evicted, deadline, killed or failed.
        message: the sentence.
        permanent: waiting does not help.
    """

    kind: str
    message: str
    permanent: bool = False


def why_waiting(pod: Object) -> Reason | None:
    """Why a pod has not started, from its status; None while nothing is wrong with it.

    Args:
        pod: the object as the API server returns it.
    """
    status = pod.get("status", {})
    for one in status.get("conditions") or []:
        if (
            one["type"] == "PodScheduled"
            and one["status"] == "False"
            and one.get("reason") == "Unschedulable"
        ):
            return Reason("unschedulable", _unschedulable(str(one.get("message", ""))))
    for state in _states(status):
        waiting = state.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in IMAGE:
            return Reason("image", _image(state, waiting), permanent=waiting["reason"] != "ErrImagePull")
        if waiting.get("reason") in CONFIG:
            words = f"its container cannot be created: {_cut(waiting.get('message', waiting['reason']))}"
            return Reason(
                "config", f"{words}; create what the message names, then `tidegate resume`", permanent=True
            )
    return None


def why_from_events(events: Iterable[Object]) -> Reason | None:
    """Why a pod does not start, or why a Job gets no pod, from the cluster's events; the newest event counts."""
    for event in sorted(events, key=_when, reverse=True):
        message = _cut(event.get("message", ""))
        if event.get("reason") in ("FailedMount", "FailedAttachVolume"):
            missing = "not found" in message
            fix = "create it (see the README), then `tidegate resume`" if missing else "waiting for it"
            return Reason("mount", f"a volume cannot be mounted: {message}; {fix}", permanent=missing)
        if event.get("reason") in ("FailedCreate", "FailedCreatePodSandBox"):
            if "exceeded quota" in message:
                fix = "waiting until something ends; or request less (resources), or raise the ResourceQuota"
                return Reason("quota", f"the namespace's quota is full: {message}; {fix}")
            if "forbidden" in message or "not found" in message:
                fix = "`kubectl apply -k` the manifests again; `tidegate check --target NAME` says what is missing"
                return Reason("forbidden", f"its pod may not be created: {message}; {fix}", permanent=True)
    return None


def why_ended(pod: Object) -> Reason | None:
    """Why a pod failed; None when it did not fail."""
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return Reason(
            "evicted", f"its pod was evicted from node {_node(pod)}: {_cut(status.get('message', ''))}"
        )
    for state in _states(status):
        ended = state.get("state", {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return out_of_memory([pod])
    disrupted = condition(pod, "DisruptionTarget")
    if disrupted is not None:
        words = disrupted.get("message") or disrupted.get("reason", "")
        return Reason("evicted", f"its pod was taken from node {_node(pod)}: {_cut(words)}")
    if pod["metadata"].get("deletionTimestamp"):
        return Reason("killed", "its pod was deleted")
    for state in _states(status):
        ended = state.get("state", {}).get("terminated") or {}
        if ended.get("exitCode"):
            # A member that ended because it lost another member did not fail by itself.
            killed = ended["exitCode"] > 128 or ended["exitCode"] == os.EX_TEMPFAIL
            return Reason("killed" if killed else "failed", _exit(ended, pod))
    return None


def why_failed(job: Object) -> Reason | None:
    """Why a Job failed, as far as the Job's own status says."""
    failed = condition(job, "Failed")
    if failed is None:
        return None
    reason = failed.get("reason", "")
    if reason == "DeadlineExceeded":
        return too_long()
    return Reason("failed", _cut(failed.get("message", reason)), permanent=True)


def out_of_memory(pods: Sequence[Object]) -> Reason:
    """That the newest of these pods, or a process in it, was killed for memory."""
    where = f", on node {_node(pods[-1])}" if pods else ""
    return Reason(
        "oom",
        f"it used more memory than its limit and was killed (OOMKilled{where}); raise resources.memory, or use "
        "smaller batches or data",
        permanent=True,
    )


def too_long() -> Reason:
    """That a Job, or a trial in a packed pod, met its deadline."""
    return Reason(
        "deadline", "it ran longer than resources.deadline allows and was ended; raise it", permanent=True
    )


def _states(status: Object) -> list[Object]:
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _unschedulable(message: str) -> str:
    words = f"no node has room for it: {_cut(message)}"
    if ".com/gpu" in message:
        return (
            f"{words}; waiting for a free GPU; if the cluster has none, add a GPU node (with its device plugin), "
            "or set resources.gpus: 0"
        )
    return f"{words}; waiting for room; or request less (resources), or add a node"


def _image(state: Object, waiting: Object) -> str:
    words = _cut(waiting.get("message", waiting["reason"]))
    fix = "build and push it (`make images`), or correct `images` in targets.yaml"
    return f"the image {state.get('image', '')} cannot be pulled: {words}; {fix}"


def _exit(ended: Object, pod: Object) -> str:
    code = ended["exitCode"]
    last_line = _cut(ended.get("message", "").strip().rpartition("\n")[2])
    words = f"killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    return f"its pod on node {_node(pod)} was {words}{': ' if last_line else ''}{last_line}"


def _node(pod: Object) -> str:
    return str(pod.get("node") or pod.get("spec", {}).get("nodeName") or "unknown")


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _cut(text: Any) -> str:
    words = " ".join(str(text).split()).rstrip(".")
    return words if len(words) <= MAX_LENGTH else f"{words[:MAX_LENGTH]}…"
