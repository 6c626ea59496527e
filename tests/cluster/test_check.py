"""`check --target`: every item well on the testbed, and each fault told with its fix, in bounded time."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.infra.testbed import install
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.running import kubectl

from .conftest import Onto
from .identities import person

pytestmark = pytest.mark.cluster
BARE = "test-check"  # a namespace with our accounts, roles and settings, and no Secret
KINDS = ("ServiceAccount", "Role", "RoleBinding", "ConfigMap")
Check = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def bare(installed: Layout) -> Iterator[str]:
    text = kubectl(installed, "kustomize", str(install.MANIFESTS / "overlays" / "testbed"))
    ours = [one for one in yaml.safe_load_all(text) if one["kind"] in KINDS]
    for one in ours:
        one["metadata"]["namespace"] = BARE
        for subject in one.get("subjects", []):
            subject.update({"namespace": BARE} if subject["kind"] == "ServiceAccount" else {})
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BARE}}
    kubectl(installed, "apply", "-f", "-", stdin=yaml.safe_dump_all([space, *ours]))
    yield BARE
    kubectl(installed, "delete", "namespace", BARE, "--wait=false")


@pytest.fixture
def check(onto: Onto, tmp_path: Path) -> Check:
    """`check` with something of the target or the environment changed; items by name."""

    def run(env: dict[str, str] | None = None, **changed: Any) -> dict[str, Any]:
        target = yaml.safe_load(install.TARGETS.read_text())["testbed"]
        path = tmp_path / "targets.yaml"
        path.write_text(json.dumps({"testbed": {**target, **changed}}))
        there = replace(onto, env={**onto.env, **(env or {}), "TIDEGATE_TARGETS": str(path)})
        began = time.monotonic()
        ran = there("check", "--json", timeout=150)
        items = {item["name"]: item for item in ran.json}
        assert ran.code == (0 if all(item["ok"] for item in ran.json) else 1), ran.stderr
        assert all(item["fix"] for item in ran.json if not item["ok"])
        return {**items, "seconds": time.monotonic() - began}

    return run


def failed(items: dict[str, Any]) -> list[str]:
    return [name for name, item in items.items() if name != "seconds" and not item["ok"]]


def test_a_person_of_the_group_finds_everything_well(check: Check, installed: Layout, tmp_path: Path) -> None:
    ada = person(installed, tmp_path, "ada", "tidegate-users")
    items = check({"KUBECONFIG": str(ada.kubeconfig)})
    assert failed(items) == []
    assert items["cluster"]["detail"].startswith("v1.")
    assert items["gpus"]["detail"].startswith("cannot be told")
    assert "count/jobs.batch" in items["quota"]["detail"]
    assert {"a pod", "store, from a pod", "mlflow, from a pod"} <= items.keys()
    assert (
        kubectl(installed, "-n", "tidegate", "get", "jobs", "-l", "tidegate.dev/step=check", "-o", "name")
        == ""
    )


def test_a_person_without_rights_is_told_which(check: Check, installed: Layout, tmp_path: Path) -> None:
    eve = person(installed, tmp_path, "eve")
    items = check({"KUBECONFIG": str(eve.kubeconfig)})
    assert items["right: jobs"]["detail"] == "lacking: get, list, watch, create, patch, delete"
    assert "tidegate-users" in items["right: jobs"]["fix"]
    assert "not allowed" in items["a pod"]["detail"]


def test_an_unknown_context_leaves_store_and_mlflow_to_be_told(check: Check) -> None:
    items = check(context="nowhere")
    assert failed(items) == ["cluster"]
    assert "nowhere" in items["cluster"]["detail"]
    assert items["store"]["ok"]
    assert items["mlflow"]["ok"]


def test_a_server_that_is_not_there_ends_in_seconds(check: Check, onto: Onto, tmp_path: Path) -> None:
    dead = tmp_path / "dead.kubeconfig"
    text = Path(onto.env["KUBECONFIG"]).read_text()
    dead.write_text(text.replace("10.244.0.1:6443", "127.0.0.1:9"))
    nothing = "http://127.0.0.1:9"
    items = check(
        {"KUBECONFIG": str(dead)}, mlflow=nothing, store={"url": "s3://tidegate/x", "endpoint": nothing}
    )
    assert failed(items) == ["cluster", "store", "mlflow"]
    assert "cannot be reached" in items["cluster"]["detail"]
    assert items["seconds"] < 60


def test_a_namespace_that_is_not_there(check: Check) -> None:
    items = check(namespace="no-such")
    assert "there is no namespace no-such" in items["namespace"]["detail"]
    assert "kubectl apply -k" in items["namespace"]["fix"]


def test_missing_secret_missing_role_and_other_settings(check: Check, bare: str, installed: Layout) -> None:
    kubectl(installed, "-n", bare, "delete", "rolebinding", "tidegate-driver")
    store = {"url": "s3://tidegate/other", "endpoint": "http://127.0.0.1:30900"}
    items = check(
        namespace=bare,
        store=store,
        gateway={"name": "none", "namespace": "testbed", "url": "http://127.0.0.1:9"},
    )
    assert set(failed(items)) == {
        *("pod security", "driver's rights", "settings", "gateway", "gateway's address", "a pod"),
    }
    assert 'secret "tidegate-store" not found' in items["a pod"]["detail"]
    assert "tidegate-driver lacks: get jobs" in items["driver's rights"]["detail"]
    assert "s3://tidegate/testbed" in items["settings"]["detail"]


def test_keys_that_s3_does_not_know(check: Check, tmp_path: Path) -> None:
    wrong = tmp_path / "credentials"
    wrong.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n")
    items = check({"AWS_SHARED_CREDENTIALS_FILE": str(wrong)})
    assert failed(items) == ["store"]
    assert "credentials" in items["store"]["detail"]


def test_an_image_that_nobody_built(check: Check) -> None:
    items = check({"TIDEGATE_IMAGE_TAG": "no-such"})
    assert failed(items) == ["images", "a pod"]
    assert "localhost/tidegate/driver:no-such cannot be pulled" in items["a pod"]["detail"]
