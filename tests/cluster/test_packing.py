"""Trials that share a pod of a real cluster: one fails alone, the pod is killed, the driver is deleted in between."""

import re
from typing import Any

import pytest

from tidegate.infra.cluster.api import Cluster

from ..faults.conftest import mlflow_runs
from .conftest import Onto, left, wait_for
from .test_faults import EASY, detached, ended, pods, running

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SIX = ("--set", "search.trials=6", "--set", "search.pruning=null", "--set", "search.parallelism=2")
PACKED = (*SIX, "--set", "search.pack=10", *EASY)
BEGINS = re.compile(r"^trial (train-\d+-\w+) begins", re.M)


def own(seed: int) -> tuple[str, ...]:
    return ("--set", f"training.seed={seed}", "--set", f"serving.endpoint=packed-{seed}")


def of_trials(api: Cluster, run: str) -> set[str]:
    return {str(pod["metadata"]["name"]) for pod in pods(api, run, "train")}


def test_a_trial_that_fails_alone(onto: Onto, api: Cluster) -> None:
    """Of the four learning rates the second one leads to a loss that is no number."""
    space = "{training.optimizer.learning_rate: {choices: [0.001, 1.0e+30, 0.002, 0.003]}}"
    search = f"{{method: grid, parallelism: 1, pack: 4, pruning: null, space: {space}}}"
    more = ("--set", f"search={search}", "--set", "training.epochs=2")
    run = detached(onto, "digits", *more, *EASY, *own(4201))
    seen = wait_for("the packed pod", lambda: of_trials(api, run), 240)
    shown = ended(onto, api, run, 600)
    assert shown["status"] == "done"
    assert [trial["status"] for trial in shown["trials"]] == ["done", "failed", "done", "done"]
    assert len(seen) == 1
    assert (
        "nan" in str(shown["trials"][1]).lower() + onto("logs", run, shown["trials"][1]["id"]).stdout.lower()
    )
    assert left(api, run) == []
    onto.ok("delete", "packed-4201")


def test_a_killed_pod_and_a_deleted_driver_train_nothing_twice(onto: Onto, api: Cluster) -> None:
    slow = ("--set", "training.batch_size=1", "--set", "training.epochs=8")
    run = detached(onto, "digits-search", *PACKED, *slow, *own(4202))
    first = wait_for("a packed pod", lambda: running(api, run, "train", set()), 240)
    wait_for("its second trial", lambda: len(BEGINS.findall(api.logs(first))) >= 2, 400)
    before = BEGINS.findall(api.logs(first))
    api.delete("Pod", first)
    wait_for("another pod", lambda: running(api, run, "train", {first}), 240)
    driver = wait_for("the driver", lambda: running(api, run, "driver", set()), 60)
    api.delete("Pod", driver)
    shown = ended(onto, api, run, 900)
    assert (shown["status"], len(shown["trials"])) == ("done", 6)
    assert {trial["status"] for trial in shown["trials"]} <= {"done", "cached"}
    assert len(before) == len(set(before))
    assert "adopted" in onto("logs", run, "driver").stdout  # by the second driver, of the second pod
    parents, children = mlflow_runs(onto, run)
    assert (len(parents), len(children)) == (1, 6)
    assert left(api, run) == []
    onto.ok("delete", "packed-4202")


def test_cancel_leaves_nothing_of_packed_pods(onto: Onto, api: Cluster) -> None:
    slow = ("--set", "training.batch_size=1", "--set", "training.epochs=20")
    run = detached(onto, "digits-search", *PACKED, *slow, *own(4203))
    wait_for("a packed pod", lambda: running(api, run, "train", set()), 240)
    cancelled: dict[str, Any] = onto.ok("cancel", run)
    assert cancelled["status"] == "cancelled"
    assert left(api, run) == []
