"""What a cluster has to offer, read from its objects: free quota, GPUs, images, a gateway. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tidegate.infra.cluster.jobs import condition

Object = dict[str, Any]
# If one of these is used up, not even a small pod can be created; the GPU quota matters only for pods with GPUs.
NEEDED = ("pods", "count/jobs.batch", "requests.cpu", "requests.memory", "limits.memory")


def amount(quantity: str) -> Decimal:
    """A Kubernetes quantity, such as 250m or 4Gi, as a number of cores, bytes or pieces."""
    from kubernetes.utils.quantity import parse_quantity

    found: Decimal = parse_quantity(quantity)
    return found


def quota_lines(quotas: Iterable[Object]) -> tuple[list[str], list[str]]:
    """The quotas of pods, Jobs, cores, memory and GPUs as lines `name used/hard`: all of them, and the full ones."""
    lines, full = [], []
    for quota in quotas:
        status = quota.get("status", {})
        for name, used in status.get("used", {}).items():
            hard = status["hard"][name]
            if name in NEEDED or ".com/gpu" in name:
                lines.append(f"{name} {used}/{hard}")
            if name in NEEDED and amount(used) >= amount(hard):
                full.append(lines[-1])
    return lines, full


def gpus(nodes: Iterable[Object]) -> dict[str, int]:
    """Resource name -> total number of GPUs on the nodes."""
    found: Counter[str] = Counter()
    for node in nodes:
        offered: Mapping[str, str] = node.get("status", {}).get("allocatable") or {}
        for name, number in offered.items():
            if name.endswith(".com/gpu"):
                found[name] += int(amount(number))
    return {name: number for name, number in sorted(found.items()) if number}


def images_on(nodes: Iterable[Object]) -> set[str]:
    """The images that the nodes report; a node reports at most 50."""
    reported = (node.get("status", {}).get("images") or [] for node in nodes)
    return {name for images in reported for one in images for name in one.get("names") or []}


def gateway_problem(gateway: Object, namespace: str) -> str:
    """Why routes of `namespace` cannot use a gateway; "" if they can."""
    for kind in ("Accepted", "Programmed"):
        if condition(gateway, kind) is None:
            return f"it is not {kind}"
    own = gateway["metadata"]["namespace"]
    for listener in gateway["spec"]["listeners"]:
        chosen = listener.get("allowedRoutes", {}).get("namespaces", {}).get("from", "Same")
        if chosen in ("All", "Selector") or (chosen == "Same" and own == namespace):
            return ""
    return f"no listener accepts routes of namespace {namespace} (allowedRoutes.namespaces.from)"
