"""A trial of two pods that share each batch: the figures of one process, though a pod is deleted in the middle."""

import re
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.jobs import steps_of

from ..conftest import Cli
from .conftest import Onto, left, wait_for
from .test_faults import detached, ended, pods

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
TRAINING = {
    "training.backend": "jax",
    "training.epochs": "60",
    "training.batch_size": "32",
    "training.early_stopping": "null",
    "training.checkpoint": "{every: 20}",
    "data.split.seed": "2207",
    "gate": "{metric: test_accuracy, minimum: 0.2, improve_on_champion: null}",
    "serving.endpoint": "members",
}
TWO = {"resources.nodes": "2", "resources.cpu": "1", "resources.memory": "1500Mi"}


def given(settings: dict[str, str]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same trial as one process of this machine."""
    local = Cli(tmp_path_factory.mktemp("alone") / "home")
    try:
        metrics: dict[str, Any] = local.ok("submit", "digits", *given(TRAINING))["metrics"]
    finally:
        local("down")
    return metrics


def test_two_pods_learn_what_one_process_does(onto: Onto, api: Cluster, alone: dict[str, Any]) -> None:
    run = detached(onto, "digits", *given({**TRAINING, **TWO}))
    wait_for("an epoch", lambda: re.search(r"^epoch [3-9]/60", log(onto, run), re.M), 300)
    members = {index(pod): pod["metadata"]["name"] for pod in trial(api, run)}
    assert members.keys() == {"0", "1"}
    api.delete("Pod", members["1"])
    shown = ended(onto, api, run, 600)
    assert shown["status"] == "done", shown
    assert "it starts again" in onto("logs", run, "driver").stdout
    assert "resumed from epoch" in log(onto, run)
    for name, value in alone.items():
        assert shown["metrics"][name] == pytest.approx(value, abs=5e-3), name  # of 359 rows one is 3e-3
    assert left(api, run) == []
    assert api.list("Service", steps_of(run)) == []
    onto.ok("delete", "members")


def test_a_pod_without_a_place_is_waited_for_and_named(onto: Onto, api: Cluster) -> None:
    """No node has so much memory twice: the first pod's worker names the member that does not come."""
    asked = {**TRAINING, **TWO, "data.split.seed": "2208", "resources.member_timeout": "20s"}
    half = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 * 6 // 10
    ran = onto("submit", "digits", *given({**asked, "resources.memory": f"{half}Mi"}), "--json")
    assert ran.code == 1
    assert "no node has room for it" in ran.stderr
    assert re.search(r"member [01] of 2 did not connect within 20 s", ran.stderr)
    assert left(api, ran.json["run"]) == []


def index(pod: dict[str, Any]) -> str:
    """Which member of its step a pod is."""
    return str(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def trial(api: Cluster, run: str) -> list[dict[str, Any]]:
    """The pods of the train step that live."""
    return [pod for pod in pods(api, run, "train") if not pod["metadata"].get("deletionTimestamp")]


def log(onto: Onto, run: str) -> str:
    return onto("logs", run, "train").stdout
