"""A namespace of the testbed with what endpoints need: an account, settings, and the store's credentials."""

import json
import secrets
from pathlib import Path
from typing import Any

from tidegate.infra.testbed import install
from tidegate.infra.testbed.host.layout import GATEWAY_PORT, Layout
from tidegate.infra.testbed.images import ours
from tidegate.infra.testbed.running import kubectl
from tidegate.pipelines.state.targets import Target

Object = dict[str, Any]
IN_CLUSTER = "http://s3.testbed:9000"
KINDS = "deployments,services,hpa,pdb,networkpolicies,httproutes,ingresses,leases,pods"


def make_target(layout: Layout, namespace: str, *, gateway: bool = True, images: str = ours.PREFIX) -> Target:
    """A target of the testbed, with a part of the bucket of its own."""
    keys = json.loads(layout.s3_credentials.read_bytes())
    store = {"url": f"s3://{install.BUCKET}/{namespace}-{secrets.token_hex(4)}", "endpoint": keys["endpoint"]}
    way = {"name": "gateway", "namespace": "testbed", "url": f"http://127.0.0.1:{GATEWAY_PORT}"}
    rest = {"mlflow": "http://127.0.0.1:1", "images": images, "gateway": way if gateway else None}
    return Target.model_validate({"name": "testbed", "namespace": namespace, "store": store, **rest})


def make_namespace(layout: Layout, target: Target, folder: Path) -> None:
    """Apply the namespace and what endpoints need in it, pods held to the restricted standard."""
    _wait_gone(layout, target.namespace)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    settings = {"TIDEGATE_STORE": target.store.url, "TIDEGATE_S3_ENDPOINT": IN_CLUSTER}
    keys = {"credentials": install.credentials(layout).read_text()}

    def named(kind: str, name: str, **more: Any) -> Object:
        metadata = {"name": name, "namespace": target.namespace}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}

    objects = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": target.namespace, "labels": restricted},
        },
        named("ServiceAccount", "tidegate-endpoint"),
        named("ConfigMap", "tidegate", data=settings),
        named("Secret", "tidegate-store", stringData=keys),
    ]
    file = folder / f"{target.namespace}.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    kubectl(layout, "apply", "-f", str(file))


def _wait_gone(layout: Layout, name: str) -> None:
    """Wait for the end of a namespace that an earlier module of tests has just deleted."""
    phase = kubectl(layout, "get", "namespace", name, "--ignore-not-found", "-o", "jsonpath={.status.phase}")
    if phase == "Terminating":
        kubectl(layout, "wait", "--for=delete", f"namespace/{name}", "--timeout=90s")


def remove_namespace(layout: Layout, name: str) -> None:
    """Delete the namespace and all that is in it."""
    kubectl(layout, "delete", "namespace", name, "--wait=false")


def left_over(layout: Layout, namespace: str, endpoint: str, *labels: str) -> list[str]:
    """Names of everything that has the endpoint's label, and those given."""
    chosen = ",".join([f"tidegate.dev/endpoint={endpoint}", *labels])
    return kubectl(layout, "get", KINDS, "-n", namespace, "-l", chosen, "-o", "name").split()
