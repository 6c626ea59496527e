"""Secrets of the namespace as folders of a pod, one file per variable. Pure functions."""

from collections.abc import Sequence
from typing import Any

from tidegate.infra.cluster.pods.volumes import with_volumes

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
    folders = {
        f"{FOLDER}/{name}": {"name": f"secret-{name}", "secret": {"secretName": name}} for name in names
    }
    return with_volumes(pod, folders, place=container)
