"""What runs on top of the bare cluster: roles, DNS, metrics, the S3 server and the gateway."""

import base64
import json
import os
import secrets
import socket
from pathlib import Path
from string import Template

from tidegate.infra.testbed import parts
from tidegate.infra.testbed.host.layout import GATEWAY_PORT, METRICS_PORT, NODE_IP, S3_PORT, Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.images import build
from tidegate.infra.testbed.running import check_alive, kubectl, start

MANIFESTS = Path(__file__).parent / "manifests"
S3_USER = 65535  # images.NOBODY


def roles(layout: Layout) -> None:
    """Give the host processes the roles they need."""
    kubectl(layout, "apply", "-f", "-", stdin=_manifest("roles"))


def dns(layout: Layout) -> None:
    """Start CoreDNS on the node's address."""
    start(layout, "coredns", parts.coredns(layout))
    wait("DNS", lambda: check_alive(layout) and _listens(NODE_IP, 53), 20)


def s3(layout: Layout) -> None:
    """Start the S3 server as a pod; its data is in the state folder, its keys are in `s3.json`."""
    if images.S3 not in images.loaded(layout):
        images.load(layout, images.of_binary(layout, "versitygw", images.S3))
    data = layout.state / "s3"
    data.mkdir(exist_ok=True)
    data.chmod(0o700)
    os.chown(data, S3_USER, S3_USER)
    keys = _keys(layout)
    words = {"access": keys["access_key"], "secret": keys["secret_key"], "port": S3_PORT}
    text = _manifest("s3", **words, image=images.S3, data=data)
    kubectl(layout, "apply", "-f", "-", stdin=text)


def gateway(layout: Layout) -> None:
    """Install the Gateway API's resources, a Gateway, and start Traefik as its controller."""
    definitions = build.copied(layout.cache, "traefik")
    kubectl(layout, "apply", "--server-side", "-f", str(definitions))
    kubectl(layout, "wait", "--for=condition=Established", "--timeout=20s", "-f", str(definitions))
    kubectl(layout, "apply", "-f", "-", stdin=_manifest("gateway", port=GATEWAY_PORT))
    token = layout.pki / "traefik.token"
    if not token.exists():
        made = kubectl(layout, "-n", "testbed", "create", "token", "traefik", "--duration=720h")
        token.touch(mode=0o600)
        token.write_text(made.strip())
    start(layout, "traefik", parts.traefik(layout, str(token)))


def metrics(layout: Layout) -> None:
    """Start the metrics server and register it with the API server as `metrics.k8s.io`."""
    authority = base64.b64encode((layout.pki / "ca.crt").read_bytes()).decode()
    words = {"address": NODE_IP, "port": METRICS_PORT, "authority": authority}
    kubectl(layout, "apply", "-f", "-", stdin=_manifest("metrics", **words))
    start(layout, "metrics-server", parts.metrics_server(layout))


def ready(layout: Layout) -> None:
    """Wait until S3, the metrics and the gateway answer.

    Raises:
        NotReadyError: one of them does not answer.
    """
    kubectl(layout, "-n", "testbed", "rollout", "status", "deployment/s3", "--timeout=40s")
    wait("S3", lambda: check_alive(layout) and _listens("127.0.0.1", S3_PORT), 20)
    wait("The gateway", lambda: check_alive(layout) and _listens("127.0.0.1", GATEWAY_PORT), 20)
    kubectl(layout, "wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", "--timeout=40s")
    condition = "--for=condition=Programmed"
    kubectl(layout, "-n", "testbed", "wait", condition, "gateway/gateway", "--timeout=20s")


def _keys(layout: Layout) -> dict[str, str]:
    path = layout.s3_credentials
    if not path.exists():
        path.touch(mode=0o600)
        keys = {"access_key": secrets.token_hex(8), "secret_key": secrets.token_hex(16)}
        path.write_text(json.dumps({"endpoint": f"http://127.0.0.1:{S3_PORT}", **keys}, indent=1))
    keys = json.loads(path.read_bytes())
    return {name: str(value) for name, value in keys.items()}


def _manifest(name: str, **words: object) -> str:
    return Template((MANIFESTS / f"{name}.yaml").read_text()).substitute(words)


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
