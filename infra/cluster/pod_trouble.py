"""Why a pod does not run, in words. Pure: it reads the pod's status, as the API server gives it."""

from typing import Any

Object = dict[str, Any]
FIX = {
    "ErrImagePull": "see that the image exists and that the nodes may pull it (`make images`; `images` in targets.yaml)",
    "ImagePullBackOff": "see that the image exists and that the nodes may pull it (`make images`; `images` in targets.yaml)",
    "ErrImageNeverPull": "load the image on the node",
    "InvalidImageName": "correct `images` in targets.yaml",
    "CreateContainerConfigError": "create what it names: `kubectl apply -k` the manifests, and the Secret of the store",
}
OOM_FIX = "give it more memory (serving.resources.memory)"


def pod_trouble(pod: Object) -> str:
    """What keeps a pod from running, or ended its containers; "" when nothing does."""
    status = pod.get("status", {})
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"no node takes it: {condition.get('message', condition.get('reason', ''))}"
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return next((words for one in containers if (words := _container_trouble(one))), "")


def restarts(pod: Object) -> int:
    """How often the pod's containers were started again, or ended for good."""
    containers = pod.get("status", {}).get("containerStatuses") or ()
    ended = sum("terminated" in one.get("state", {}) for one in containers)
    return sum(one.get("restartCount", 0) for one in containers) + ended


def is_ready(pod: Object) -> bool:
    """Whether the pod takes requests and is not being deleted."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def failing_container(pod: Object) -> str:
    """The name of the container whose log tells more, or ""."""
    status = pod.get("status", {})
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ended = (one["name"] for one in containers if _ended(one))
    return next(ended, "")


def last_end(pod: Object) -> str:
    """How the pod's server ended the last time, such as `OOMKilled (exit code 137)`; "" when it never did."""
    containers = pod.get("status", {}).get("containerStatuses") or ()
    return next((words for one in containers if (words := _end_in_words(_ended(one)))), "")


def _container_trouble(status: Object) -> str:
    waiting = status.get("state", {}).get("waiting")
    end = _end_in_words(_ended(status))
    if waiting and waiting["reason"] not in ("PodInitializing", "ContainerCreating"):
        reason = waiting["reason"]
        if end:
            return f"container {status['name']} ends again and again: {end}"
        words = f"container {status['name']}: {reason}: {waiting.get('message', '')}".rstrip(": ")
        return f"{words}; {FIX[reason]}" if reason in FIX else words
    return f"container {status['name']} ended: {end}" if end else ""


def _ended(status: Object) -> Object:
    """The last end of a container that was none to be expected."""
    for state in (status.get("state", {}), status.get("lastState", {})):
        if state.get("terminated", {}).get("exitCode", 0) != 0:
            return dict(state["terminated"])
    return {}


def _end_in_words(ended: Object) -> str:
    if not ended:
        return ""
    words = f"{ended.get('reason', 'Error')} (exit code {ended['exitCode']})"
    return f"{words}; {OOM_FIX}" if ended.get("reason") == "OOMKilled" else words
