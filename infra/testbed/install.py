"""Installs Tidegate on the testbed: what an administrator does by hand, and then `kubectl apply -k`.

Every part may be repeated: existing objects stay, above all the database's password and its disk.
"""

import json
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path
from string import Template

from tidegate.infra.cluster.images import image, tag
from tidegate.infra.testbed import postgres
from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.layout import NODE, S3_PORT, Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.running import kubectl, kubectl_succeeds

MANIFESTS = Path(__file__).parents[1] / "manifests"
STORAGE = Path(__file__).parent / "manifests" / "storage.yaml"
TARGETS = Path(__file__).with_name("targets.yaml")
NAMESPACE = "tidegate"
BUCKET = "tidegate"
MLFLOW = "localhost/tidegate/mlflow:testbed"  # the overlay's fixed tag; the tag of the code changes daily
DRIVER = "localhost/tidegate/driver:testbed"  # the same
MLFLOW_URL = "http://127.0.0.1:30500"
VOLUME = "testbed-1"
Say = Callable[[str], None]


def install(layout: Layout, say: Say) -> None:
    """Install Tidegate on the running testbed and wait until MLflow answers.

    Raises:
        PreconditionError: no testbed runs, or an image is missing.
        TestbedError: a kubectl command failed, or MLflow did not become ready; with the end of kubectl's output.
    """
    if not layout.s3_credentials.exists():
        raise PreconditionError("no testbed runs here; run `make cluster-up`, then try again")
    say("PostgreSQL's image")
    _images(layout)
    say("disk, bucket, Secrets")
    storage(layout)
    bucket(layout)
    _apply(layout, (MANIFESTS / "base" / "namespace.yaml").read_text())
    store_secret(layout)
    database_secret(layout)
    say("kubectl apply -k infra/manifests/overlays/testbed")
    kubectl(layout, "apply", "-k", str(MANIFESTS / "overlays" / "testbed"))
    _restart_scheduler(layout)
    for name in ("statefulset/mlflow-db", "deployment/mlflow", "deployment/tidegate-scheduler"):
        say(f"waiting for {name}")
        kubectl(layout, "-n", NAMESPACE, "rollout", "status", name, "--timeout=180s")
    say("waiting for the node to report its images")  # the kubelet reads them twice a minute
    wait("The node's list of images", lambda: _images_reported(layout), 120)


def _restart_scheduler(layout: Layout) -> None:
    """Its image has a fixed name here; other code starts it anew."""
    template = {"metadata": {"annotations": {"tidegate.dev/images": tag()}}}
    patch = json.dumps({"spec": {"template": template}})
    kubectl(layout, "-n", NAMESPACE, "patch", "deployment", "tidegate-scheduler", "-p", patch)


def _images_reported(layout: Layout) -> bool:
    """Whether the node object lists the images of our code, which `tidegate check` looks for."""
    ours = {name for name in images.loaded(layout) if name.endswith(f":{tag()}")}
    reported = kubectl(layout, "get", "nodes", "-o", "jsonpath={.items[*].status.images[*].names[*]}")
    return ours <= set(reported.split())


def credentials(layout: Layout) -> Path:
    """Return the testbed's S3 keys as the file that boto3 reads ($AWS_SHARED_CREDENTIALS_FILE), written if needed."""
    keys = json.loads(layout.s3_credentials.read_bytes())
    target = layout.state / "s3.credentials"
    text = (
        f"[default]\naws_access_key_id = {keys['access_key']}\naws_secret_access_key = {keys['secret_key']}\n"
    )
    if not target.exists() or target.read_text() != text:
        target.touch(mode=0o600)
        target.write_text(text)
    return target


def environment(layout: Layout) -> Path:
    """Write and return a file of shell variables with which kubectl, boto3 and tidegate find the testbed."""
    words = {
        "KUBECONFIG": layout.kubeconfig,
        "AWS_SHARED_CREDENTIALS_FILE": credentials(layout),
        "TIDEGATE_TARGETS": TARGETS,
    }
    target = layout.state / "env"
    target.write_text("".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in words.items()))
    return target


def storage(layout: Layout) -> None:
    """Create the volume of the database's disk; a released one is created again and keeps its data."""
    folder = layout.state / "volumes" / VOLUME
    folder.mkdir(parents=True, exist_ok=True)
    phase = ("get", "pv", VOLUME, "--ignore-not-found", "-o", "jsonpath={.status.phase}")
    if kubectl(layout, *phase) == "Released":
        kubectl(layout, "delete", "pv", VOLUME, "--timeout=30s")
    _apply(layout, Template(STORAGE.read_text()).substitute(folder=folder, node=NODE))


def bucket(layout: Layout) -> None:
    """Create the bucket of the store if it does not exist."""
    import boto3
    from botocore.config import Config

    keys = json.loads(layout.s3_credentials.read_bytes())
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{S3_PORT}",
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    if BUCKET not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)


def store_secret(layout: Layout) -> None:
    """Create the Secret with the S3 credentials file that pods mount."""
    _secret(layout, "tidegate-store", {"credentials": credentials(layout).read_text()})


def database_secret(layout: Layout) -> None:
    """Generate the database's password once, because the database keeps the first one."""
    if not kubectl_succeeds(layout, "-n", NAMESPACE, "get", "secret", "mlflow-db"):
        _secret(layout, "mlflow-db", {"password": secrets.token_hex(24)})


def _images(layout: Layout) -> None:
    loaded = images.loaded(layout)
    if postgres.NAME not in loaded:
        images.load(layout, postgres.archive(layout))
    for name, fixed in (("mlflow", MLFLOW), ("driver", DRIVER)):
        ours = image("localhost/tidegate", name)
        if ours in loaded:
            images.alias(layout, ours, fixed)
        elif fixed not in loaded:
            raise PreconditionError(
                f"the image {ours} is not on the node; run `make cluster-images`, then try again"
            )


def _secret(layout: Layout, name: str, data: dict[str, str]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}
    _apply(layout, json.dumps({**secret, "stringData": data}))


def _apply(layout: Layout, text: str) -> None:
    # Server-side: a client-side apply would copy the Secret into an annotation.
    kubectl(layout, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
