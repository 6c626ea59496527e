"""What is missing, full or forbidden in a cluster is told in a sentence of its own, and nothing hangs."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.images import image, tag
from tidegate.infra.testbed import install
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run as shell
from tidegate.infra.testbed.running import kubectl

from ..conftest import ROOT
from .conftest import Onto, left, wait_for

pytestmark = pytest.mark.cluster
SEED = iter(range(500, 600))


def own() -> tuple[str, ...]:
    """Data that no other test prepared, so that every step is done."""
    return (
        "--set",
        f"data.split.seed={next(SEED)}",
        "--set",
        "serving.endpoint=failing",
        "--set",
        "training.epochs=2",
    )


def test_a_trial_without_enough_memory(onto: Onto, api: Cluster) -> None:
    ran = onto("submit", "digits", *own(), "--set", "resources.memory=200Mi", "--json")
    assert ran.code == 1
    assert "OOMKilled" in ran.stderr and "resources.memory" in ran.stderr
    assert ran.json["status"] == "failed"
    assert left(api, ran.json["run"]) == []


def test_an_image_that_does_not_exist(onto: Onto, api: Cluster) -> None:
    lost = Onto(onto.home, {**onto.env, "TIDEGATE_IMAGE_TAG": "0.0.0-nowhere"})
    ran = lost("submit", "digits", *own(), "--json")
    assert ran.code == 1
    assert "driver:0.0.0-nowhere cannot be pulled" in ran.stderr and "make images" in ran.stderr
    assert ran.json["status"] == "failed"
    assert left(api, ran.json["run"]) == []


@contextmanager
def started(onto: Onto, *argv: str) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], str]]]:
    """A submit that goes on, and what it has said so far."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            onto.argv(*argv), stdout=subprocess.DEVNULL, stderr=errors, env=onto.environment(), cwd=ROOT
        )

        def said() -> str:
            return os.pread(errors.fileno(), 1 << 20, 0).decode()

        try:
            yield process, said
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_full_quota_is_waited_for(onto: Onto, api: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tiny", "namespace": "tidegate"},
    }
    api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    try:
        with started(onto, "submit", "digits", *own(), "--set", "gate.minimum=0.1") as (process, said):
            wait_for("the sentence", lambda: "quota is full" in said(), 90)
            api.delete("ResourceQuota", "tiny")
            assert process.wait(300) in (0, 3)
    finally:
        api.delete("ResourceQuota", "tiny")


def test_a_missing_secret(onto: Onto, installed: Layout) -> None:
    kubectl(installed, "-n", "tidegate", "delete", "secret", "tidegate-store")
    try:
        ran = onto("submit", "digits", *own(), "--json")
    finally:
        install.store_secret(installed)
    assert ran.code == 1
    assert 'secret "tidegate-store" not found' in ran.stderr
    assert ran.json["status"] == "failed"


def test_a_namespace_without_the_role(onto: Onto, installed: Layout) -> None:
    kubectl(installed, "-n", "tidegate", "delete", "rolebinding", "tidegate-driver")
    try:
        ran = onto("submit", "digits", *own(), "--json")
    finally:
        kubectl(installed, "apply", "-k", str(install.MANIFESTS / "overlays" / "testbed"))
    assert ran.code == 1
    assert "not allowed" in ran.stderr and "kubectl apply -k" in ran.stderr


def test_a_gpu_that_the_cluster_does_not_have(onto: Onto, api: Cluster) -> None:
    began = time.monotonic()
    with started(onto, "submit", "digits", *own(), "--set", "resources.gpus=1") as (_, said):
        wait_for("the step", lambda: "train" in said() or "nvidia.com/gpu" in said(), 120)
        begun = time.monotonic()
        wait_for("the sentence", lambda: "Insufficient nvidia.com/gpu" in said(), 60)
        assert "resources.gpus: 0" in said()
    assert begun - began < 120
    run = onto.ok("runs")[0]["run"]
    assert onto.ok("cancel", run)["status"] == "cancelled"
    assert left(api, run) == []


def test_a_gpu_that_is_offered_but_not_there(onto: Onto, installed: Layout) -> None:
    """The CPU image stands for the GPU one, whose gigabytes change nothing of what is said here."""
    names = [image("localhost/tidegate", name) for name in ("train", "train-gpu")]
    ctr = ["ctr", "--address", str(installed.containerd), "--namespace", "k8s.io", "images"]
    shell([*ctr, "tag", "--force", *names])
    offer = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "1"}]
    gone = [{"op": "remove", "path": "/status/capacity/nvidia.com~1gpu"}]
    patch = ("patch", "node", "node1", "--subresource=status", "--type=json", "-p")
    kubectl(installed, *patch, json.dumps(offer))
    try:
        ran = onto("submit", "digits", *own(), "--set", "resources.gpus=1", "--json")
    finally:
        kubectl(installed, *patch, json.dumps(gone))
        shell([*ctr, "rm", names[1]])
    assert ran.code == 1
    assert "resources.gpus is 1 and TensorFlow sees 0 GPUs" in ran.stderr
    assert "on node node1 in image" in ran.stderr and tag() in ran.stderr and "nvidia" in ran.stderr.lower()
