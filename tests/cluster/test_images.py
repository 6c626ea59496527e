"""Each image on the node, as a pod of ours runs: another user than root, nothing writable but /scratch."""

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.images import NAMES, image, tag
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.images import builder, ours
from tidegate.infra.testbed.running import kubectl

pytestmark = pytest.mark.cluster
MOST_BYTES = 250e6  # of serve-onnx over its base; 45e6 of them are pandas, for transforms of one's own
ABOUT = Path(__file__).with_name("about_image.py")
HAS = {
    "train": {"tensorflow", "keras", "mlflow", "boto3", "bentoml", "onnxruntime", "optuna"},
    "serve-onnx": {"bentoml", "onnxruntime"},
    "serve-tensorflow": {"tensorflow", "keras", "bentoml", "onnxruntime"},
    "driver": {"mlflow", "boto3", "kubernetes", "optuna"},
    "mlflow": {"mlflow", "boto3", "psycopg2"},
}


def run(layout: Layout, name: str, *command: str) -> str:
    """Run a command in a pod of one of our images; return what it printed."""
    container: dict[str, Any] = {
        "name": "main",
        "image": image(ours.PREFIX, name),
        "imagePullPolicy": "Never",
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"image-{name}"}, "spec": spec}
    kubectl(layout, "create", "-f", "-", stdin=json.dumps(pod))
    try:
        wait(f"A pod of {name}", lambda: phase(layout, name) in ("Succeeded", "Failed"), 90)
        printed = kubectl(layout, "logs", f"pod/image-{name}")
        assert phase(layout, name) == "Succeeded", printed
        return printed
    finally:
        kubectl(layout, "delete", "pod", f"image-{name}", "--grace-period=0", "--force")


def phase(layout: Layout, name: str) -> str:
    """Return how far the pod is."""
    return kubectl(layout, "get", "pod", f"image-{name}", "-o", "jsonpath={.status.phase}")


def test_every_image_is_looked_at() -> None:
    assert set(HAS) == set(NAMES)


@pytest.mark.parametrize("name", HAS)
def test_an_image_has_what_it_is_for_and_runs_as_nobody(installed: Layout, name: str) -> None:
    assert json.loads(run(installed, name, "python", "-c", ABOUT.read_text())) == {
        "user": 65532,
        "packages": sorted(HAS[name]),
        "tools": [],
        "writable": ["/scratch"],
        "tag": tag(),
        "compiled": True,
        "testbed": False,
        "caches": [],
        "python": "/opt/venv",
    }


def test_the_server_starts_without_tensorflow(installed: Layout) -> None:
    assert "--bundle" in run(
        installed, "serve-onnx", "python", "-P", "-m", "tidegate.serving.server", "--help"
    )


def test_serving_adds_little_to_the_base(installed: Layout) -> None:
    assert ours.size(installed, image(ours.PREFIX, "serve-onnx")) <= MOST_BYTES


def test_the_same_images_again_cost_nothing(installed: Layout) -> None:
    said: list[str] = []
    names = ours.ensure(installed, NAMES, said.append)
    assert said == []
    assert names == [image(ours.PREFIX, name) for name in NAMES]


def test_half_an_archive_that_a_killed_run_left_is_written_anew(installed: Layout, tmp_path: Path) -> None:
    archive = tmp_path / "base.tar"
    builder.save(installed, images.BASE, archive)
    whole = archive.stat().st_size
    with archive.open("r+b") as file:
        file.truncate(whole // 2)
    builder.save(installed, images.BASE, archive)
    assert archive.stat().st_size == whole
    images.load(installed, archive)
