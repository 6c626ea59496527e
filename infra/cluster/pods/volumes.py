"""Volumes of a pod, in one of its containers. Pure functions."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def with_volumes(
    pod: Object, folders: Mapping[str, Object], *, kind: str = "containers", place: int = 0
) -> Object:
    """A pod's spec in which one container has volumes mounted, read-only.

    Args:
        pod: the spec; it is not changed.
        folders: path of each mount -> its volume, with its name.
        kind: `containers` or `initContainers`.
        place: of the container among them.
    """
    containers = list(pod[kind])
    chosen = containers[place]
    mounts = [
        {"name": volume["name"], "mountPath": path, "readOnly": True} for path, volume in folders.items()
    ]
    containers[place] = {**chosen, "volumeMounts": [*chosen["volumeMounts"], *mounts]}
    return {**pod, kind: containers, "volumes": [*pod["volumes"], *folders.values()]}
