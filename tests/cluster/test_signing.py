"""Releases of a cluster are signed by its own key: others check them, and no replica starts without a trusted one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.bundle.test_model_signing import verified
from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.pods.signing import SECRET, TRUSTED
from tidegate.infra.cluster.pods.status import is_ready
from tidegate.infra.testbed.host.errors import TestbedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.install import NAMESPACE
from tidegate.infra.testbed.running import kubectl

from .conftest import Onto, wait_for
from .identities import account
from .tiny import write_experiment

pytestmark = pytest.mark.cluster
NAME = f"signed{int(time.time())}"
HERE = ("-n", NAMESPACE)


@pytest.fixture(scope="module")
def key(onto: Onto, installed: Layout) -> Iterator[str]:
    yield str(onto.ok("signing", "rotate")["key"])
    kubectl(installed, *HERE, "delete", f"secret/{SECRET}", f"configmap/{TRUSTED}")


@pytest.fixture(scope="module")
def released(onto: Onto, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    assert key
    yield onto.ok("submit", str(write_experiment(tmp_path_factory.mktemp("signed"), NAME)))
    onto.ok("delete", NAME)


def pods(api: Cluster) -> list[dict[str, Any]]:
    return api.list("Pod", f"tidegate.dev/endpoint={NAME}")


def public(onto: Onto, key: str) -> Path:
    (row,) = [row for row in onto.ok("signing", "list") if row["key"] == key]
    return Path(row["file"])


def test_a_release_is_signed_and_another_tool_accepts_it(
    onto: Onto, released: dict[str, Any], key: str, tmp_path: Path
) -> None:
    other = Onto(tmp_path / "other", onto.env)  # a machine that had nothing to do with it
    traced = other.ok("trace", NAME)
    assert traced["signature"] == {"key": key, "valid": True, "problem": ""}
    assert traced["run"] == released["run"]
    bundle = other.home / "targets" / "testbed" / "bundles" / traced["bundle"]
    assert verified(bundle, public(other, key))
    assert other("history", "--verify").code == 0


def test_only_the_driver_is_given_the_key(installed: Layout, api: Cluster, tmp_path: Path, key: str) -> None:
    assert key
    for name in ("tidegate-driver", "tidegate-scheduler", "tidegate-step"):
        with pytest.raises(TestbedError, match=r"[Ff]orbidden"):
            account(installed, tmp_path, NAMESPACE, name).kubectl(*HERE, "get", "secret", SECRET)
    mounting = [
        pod["metadata"]["labels"].get("tidegate.dev/step")
        for pod in api.list("Pod")
        if any(one.get("secret", {}).get("secretName") == SECRET for one in pod["spec"]["volumes"])
    ]
    assert set(mounting) == {"driver"}


def test_a_replica_starts_only_with_a_trusted_key(
    onto: Onto, released: dict[str, Any], key: str, api: Cluster, installed: Layout, tmp_path: Path
) -> None:
    assert released["release"]
    kept = tmp_path / "former.pub"
    kept.write_bytes(public(onto, key).read_bytes())
    onto.ok("signing", "rotate")
    replace(api, installed)
    wait_for(
        "the replica, signed by the former key", lambda: all(map(is_ready, pods(api))) and pods(api), 240
    )
    said = onto.ok("signing", "distrust", key)
    assert said["releases"] == [[NAME, released["release"]]]
    assert onto("trace", NAME).code == 1
    replace(api, installed)
    wait_for("the refusal", lambda: any(f"was signed with key {key}" in ended(pod) for pod in pods(api)), 240)
    onto.ok("signing", "trust", str(kept))
    wait_for("the replica", lambda: any(map(is_ready, pods(api))), 300)
    assert onto("trace", NAME).code == 0


def replace(api: Cluster, installed: Layout) -> None:
    """Another replica in place of the one that runs."""
    before = {pod["metadata"]["name"] for pod in pods(api)}
    kubectl(installed, *HERE, "delete", "pod", *before, "--wait=true")
    wait_for("another replica", lambda: [p for p in pods(api) if p["metadata"]["name"] not in before])


def ended(pod: dict[str, Any]) -> str:
    """What its init container said at its end."""
    states = pod["status"].get("initContainerStatuses", [])
    found = [one.get(when, {}).get("terminated") for one in states for when in ("state", "lastState")]
    said = " ".join(str(one.get("message", "")) for one in found if one)
    return said or kubectl_logs(pod)


def kubectl_logs(pod: dict[str, Any]) -> str:
    try:
        argv = ("logs", pod["metadata"]["name"], "-c", "bundle", "--tail=5")
        return kubectl(Layout.default(), *HERE, *argv)
    except TestbedError:  # it has not started yet
        return ""
