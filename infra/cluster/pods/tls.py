"""The certificate of an endpoint's pods: a Secret of type kubernetes.io/tls, as of cert-manager. Pure functions."""

from typing import Any

from tidegate.infra.cluster.pods.volumes import with_volumes

Object = dict[str, Any]
FOLDER = "/etc/tidegate/tls"
FILES = ("tls.crt", "tls.key")  # a Secret without them keeps the pod from starting
HTTP, HTTPS = "http", "https"  # names of ports, by which others know how to ask


def with_certificate(pod: Object, secret: str) -> Object:
    """An endpoint's pod whose server speaks HTTPS.

    Args:
        pod: the spec, whose first container is the server; it is not changed.
        secret: the Secret's name; "": the pod stays as it is.
    """
    if not secret:
        return pod
    server, *others = pod["containers"]
    certificate, key = (f"{FOLDER}/{file}" for file in FILES)
    server = {
        **server,
        "command": [*server["command"], "--tls-cert", certificate, "--tls-key", key],
        "ports": [{**port, "name": HTTPS} for port in server["ports"]],
        **{name: _secured(server[name]) for name in server if name.endswith("Probe")},
    }
    items = [{"key": file, "path": file} for file in FILES]
    source = {"secretName": secret, "items": items, "defaultMode": 0o440}
    # Mounted as a folder, not as files of it: only so does it change with its Secret.
    return with_volumes({**pod, "containers": [server, *others]}, {FOLDER: {"name": "tls", "secret": source}})


def _secured(probe: Object) -> Object:
    """The kubelet asks over TLS; it checks no certificate."""
    return {**probe, "httpGet": {**probe["httpGet"], "scheme": "HTTPS"}}


def scheme_of(pod: Object) -> str:
    """`http` or `https`: how a pod of an endpoint is asked; each release as it was deployed.

    Args:
        pod: the object, from the cluster.
    """
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    return HTTPS if any(port.get("name") == HTTPS for port in ports) else HTTP
