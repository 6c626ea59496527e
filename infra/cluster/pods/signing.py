"""The keys of a cluster in pods: a run's driver signs with the one of a Secret, others check with those of a ConfigMap.

Pure functions.
"""

from typing import Any

from tidegate.infra.cluster.pods.volumes import with_volumes

Object = dict[str, Any]
SECRET, PRIVATE = "tidegate-signing", "signing.pem"  # the Secret, and its file
TRUSTED = "tidegate-trusted"  # the ConfigMap with public keys, a file each
KEY_FOLDER, TRUSTED_FOLDER = "/etc/tidegate/signing", "/etc/tidegate/trusted"
CHECKED = "TIDEGATE_TRUSTED_KEYS"  # of a container that checks the bundle's signature


def with_signing_key(pod: Object) -> Object:
    """A driver's pod with the private key and the public ones, where the cluster has them.

    Args:
        pod: the spec, whose first container it is; it is not changed.
    """
    key = {"secretName": SECRET, "optional": True, "defaultMode": 0o440}
    folders: dict[str, Object] = {
        KEY_FOLDER: {"name": "signing", "secret": key},
        TRUSTED_FOLDER: {"name": "trusted", "configMap": {"name": TRUSTED, "optional": True}},
    }
    return with_volumes(pod, folders)


def with_trusted_keys(pod: Object) -> Object:
    """An endpoint's pod whose first init container refuses a bundle that no trusted key has signed.

    Args:
        pod: the spec; it is not changed.
    """
    first, *others = pod["initContainers"]
    first = {**first, "env": [*first["env"], {"name": CHECKED, "value": TRUSTED_FOLDER}]}
    trusted = {"name": "trusted", "configMap": {"name": TRUSTED}}
    checking = {**pod, "initContainers": [first, *others]}
    return with_volumes(checking, {TRUSTED_FOLDER: trusted}, kind="initContainers")
