"""A namespace of the testbed with what endpoints need: accounts, settings, and the store's credentials."""

import json
import secrets
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.testbed.layout import GATEWAY_PORT, Layout
from infra.testbed.running import kubectl
from pipelines.targets import Target

Object = dict[str, Any]
IN_CLUSTER = "http://s3.testbed:9000"
BUCKET = "tidegate"


def make_target(layout: Layout, namespace: str, images: str, *, gateway: bool = True) -> Target:
    """A target of the testbed, with a part of the bucket of its own."""
    keys = json.loads(layout.s3_credentials.read_bytes())
    store = {"url": f"s3://{BUCKET}/{namespace}-{secrets.token_hex(4)}", "endpoint": keys["endpoint"]}
    ways = {"name": "gateway", "namespace": "testbed", "url": f"http://127.0.0.1:{GATEWAY_PORT}"}
    return Target.model_validate(
        {
            "name": "testbed",
            "namespace": namespace,
            "store": store,
            "mlflow": "",
            "images": images,
            "gateway": ways if gateway else None,
        }
    )


def credentials(layout: Layout, file: Path) -> Path:
    """The store's keys as boto3 and the cluster's Secret have them; the bucket is made when missing."""
    keys = json.loads(layout.s3_credentials.read_bytes())
    file.write_text(
        f"[default]\naws_access_key_id = {keys['access_key']}\naws_secret_access_key = {keys['secret_key']}\n"
    )
    s3 = boto3.client(
        "s3",
        endpoint_url=keys["endpoint"],
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    if BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=BUCKET)
    return file


def make_namespace(layout: Layout, target: Target, keys: Path, folder: Path) -> None:
    """Apply the namespace and what endpoints need in it."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    settings = {"TIDEGATE_STORE": target.store.url, "TIDEGATE_S3_ENDPOINT": IN_CLUSTER}
    inside = {"namespace": target.namespace}
    objects: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": target.namespace, "labels": restricted},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tidegate-endpoint", **inside}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "tidegate", **inside},
            "data": settings,
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tidegate-store", **inside},
            "stringData": {"credentials": keys.read_text()},
        },
    ]
    file = folder / "namespace.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    kubectl(layout, "apply", "-f", str(file))


def remove_namespace(layout: Layout, name: str) -> None:
    """Delete the namespace and all in it."""
    kubectl(layout, "delete", "namespace", name, "--wait=false")


def left_over(layout: Layout, namespace: str, endpoint: str) -> list[str]:
    """Names of everything that still has the endpoint's label."""
    kinds = "deployments,services,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,httproutes,leases,pods"
    label = f"tidegate.dev/endpoint={endpoint}"
    listed = kubectl(layout, "get", kinds, "-n", namespace, "-l", label, "-o", "name")
    return listed.split()
