"""Who may ask an endpoint: Secrets that its server reads, and the policy that lets it fetch issuers' keys.

Pure functions.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tidegate.infra.cluster.pods.volumes import with_volumes

Object = dict[str, Any]
# Mounted as folders, not as files of them: only so do they change with their Secrets.
KEYS, KEY_SETS = "/etc/tidegate/keys", "/etc/tidegate/jwks"
CLUSTER = (".svc", ".svc.cluster.local")
NODE = "169.254.169.254/32"  # the address of the node's own credentials


@dataclass(frozen=True)
class AccessSpec:
    """Who may ask an endpoint.

    Attributes:
        keys: name of the Secret with their API keys; "": there are none.
        jwt: issuers of the tokens they may have, as JSON; "": there are none.
        rate_limit: of each of them, as JSON; "": none.
        key_sets: names of the Secrets with the keys of issuers.
        key_urls: where the keys of the other issuers are.
        own_key: the line of the key with which the release is verified, as in a keys file.
    """

    keys: str = ""
    jwt: str = ""
    rate_limit: str = ""
    key_sets: tuple[str, ...] = ()
    key_urls: tuple[str, ...] = ()
    own_key: str = ""


def with_access(pod: Object, access: AccessSpec) -> Object:
    """An endpoint's pod whose server answers only who has a key or a token.

    Args:
        pod: the spec, whose first container is the server; it is not changed.
        access: who may ask; nothing: anybody, and the pod stays as it is.
    """
    if not access.keys and not access.jwt:
        return pod
    server, *others = pod["containers"]
    command = [word for word in server["command"] if word != "--allow-anonymous"]
    command += ["--keys", f"{KEYS}/keys"] if access.keys else []
    for option, text in (("--jwt", access.jwt), ("--rate-limit", access.rate_limit)):
        # In a command `$(NAME)` is a variable.
        command += [option, text.replace("$(", "$$(")] if text else []
    variables = [{"name": "TIDEGATE_OWN_KEY", "value": access.own_key}]
    folders: dict[str, Object] = {}
    if access.keys:
        folders[KEYS] = {"name": "keys", "secret": {"secretName": access.keys}}
    if access.key_sets:
        variables.append({"name": "TIDEGATE_SECRETS", "value": KEY_SETS})
        entries = [
            {"secret": {"name": name, "items": [{"key": "jwks", "path": f"{name}.jwks"}]}}
            for name in access.key_sets
        ]
        folders[KEY_SETS] = {"name": "jwks", "projected": {"sources": entries}}
    server = {**server, "command": command, "env": [*server["env"], *variables]}
    return with_volumes({**pod, "containers": [server, *others]}, folders)


def egress_to_issuers(access: AccessSpec) -> list[Object]:
    """What a server must reach to read issuers' keys, as rules of a NetworkPolicy; nothing where they are Secrets.

    A policy cannot name hosts: outside the cluster it is their port at any address but the node's own.
    """
    return [_to(url) for url in dict.fromkeys(access.key_urls)]


def _to(url: str) -> Object:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.endswith(CLUSTER):
        namespace = host.split(".")[1]
        # No port: that of the pod may be another one than the Service's.
        return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    blocks = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [NODE]}}, {"ipBlock": {"cidr": "::/0"}}]
    return {"to": blocks, "ports": [{"protocol": "TCP", "port": port}]}
