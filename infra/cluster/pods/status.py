"""Whether the pods of an endpoint are ready, and if not, why. Pure functions of a pod as the API server returns it."""

from typing import Any

from tidegate.infra.cluster.pods.diagnosis import why_waiting

Object = dict[str, Any]


def why_not_ready(pod: Object) -> str:
    """Why a pod does not run, or why its container ended; "" when neither is so."""
    waiting = why_waiting(pod)
    if waiting is not None:
        return waiting.message.replace("(resources)", "(serving.resources)")
    end = last_failed_exit(pod)
    return f"container {failing_container(pod)} ended: {end}" if end else ""


def is_ready(pod: Object) -> bool:
    """Whether the pod takes requests and is not being deleted."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def restarts(pod: Object) -> int:
    """How often the pod's server was restarted or ended."""
    servers = pod.get("status", {}).get("containerStatuses") or ()
    ended = sum("terminated" in one.get("state", {}) for one in servers)
    return sum(int(one.get("restartCount", 0)) for one in servers) + ended


def failing_container(pod: Object) -> str:
    """The name of the container that failed, whose log says more; "" when none did."""
    return next((str(one["name"]) for one in _containers(pod) if _failed_exit(one)), "")


def last_failed_exit(pod: Object) -> str:
    """How that container last ended, such as `OOMKilled (exit code 137)`; "" when none failed."""
    ended = next((end for one in _containers(pod) if (end := _failed_exit(one))), None)
    if ended is None:
        return ""
    words = f"{ended.get('reason', 'Error')} (exit code {ended['exitCode']})"
    return f"{words}; raise serving.resources.memory" if ended.get("reason") == "OOMKilled" else words


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _failed_exit(status: Object) -> Object:
    """The `terminated` state of a container's last end if its exit code was not 0, else {}."""
    for state in (status.get("state", {}), status.get("lastState", {})):
        if state.get("terminated", {}).get("exitCode", 0) != 0:
            return dict(state["terminated"])
    return {}
