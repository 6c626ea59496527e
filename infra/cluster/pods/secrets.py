"""Secrets of the namespace as folders of a pod, one file per variable. Pure functions."""

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]
FOLDER = "/etc/tidegate/secrets"


def with_secrets(pod: Object, container: int, names: Sequence[str]) -> Object:
    """A pod's spec in which one container has Secrets mounted below `/etc/tidegate/secrets`, read-only.

    Args:
        pod: the spec; it is not changed.
        container: the container's place.
        names: of the Secrets.
    """
    if not names:
        return pod
    volumes = [{"name": f"secret-{name}", "secret": {"secretName": name}} for name in names]
    mounts = [{"name": f"secret-{name}", "mountPath": f"{FOLDER}/{name}", "readOnly": True} for name in names]
    containers = list(pod["containers"])
    chosen = containers[container]
    containers[container] = {**chosen, "volumeMounts": [*chosen["volumeMounts"], *mounts]}
    return {**pod, "containers": containers, "volumes": [*pod["volumes"], *volumes]}
