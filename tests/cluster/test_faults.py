"""The driver's pod, a trial's pod, the API server and etcd's memory are taken away in the middle of a run."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.jobs import driver_name, is_finished
from tidegate.infra.testbed import faults
from tidegate.infra.testbed.host.layout import Layout

from ..faults.conftest import mlflow_runs
from .conftest import Onto, left, wait_for

pytestmark = pytest.mark.cluster
# Ten drivers of three runs that go side by side: the Job controller waits 10 s before a run's second driver, then twice
# as long each time, so that ten of one run would take half an hour.
KILLS = {4096: 4, 4097: 3, 4098: 3}
SIX = ("--set", "search.trials=6", "--set", "search.pruning=null", "--set", "training.epochs=3")
# One row a batch and one trial at a time: the run outlasts its drivers.
SLOW = ("--set", "search.parallelism=1", "--set", "training.batch_size=1", "--set", "training.epochs=20")
EASY = ("--set", "gate={metric: test_accuracy, minimum: 0.2, improve_on_champion: null}")


def detached(onto: Onto, name: str, *more: str) -> str:
    """Start a run and return at once."""
    return str(onto.ok("submit", name, "--detach", *more)["run"])


def pods(api: Cluster, run: str, step: str) -> list[dict[str, Any]]:
    return api.list("Pod", f"tidegate.dev/run={run},tidegate.dev/step={step}")


def running(api: Cluster, run: str, step: str, but: set[str]) -> str | None:
    """A pod of that step that runs and is none of those."""
    for pod in pods(api, run, step):
        name, ending = pod["metadata"]["name"], pod["metadata"].get("deletionTimestamp")
        if name not in but and not ending and pod["status"].get("phase") == "Running":
            return str(name)
    return None


def ended(onto: Onto, api: Cluster, run: str, timeout: float = 400) -> dict[str, Any]:
    """The run's answer once its driver has ended."""

    def over() -> bool:
        job = api.get("Job", driver_name(run))
        return job is None or is_finished(job)

    wait_for(f"the end of {run}", over, timeout)
    shown: dict[str, Any] = onto.ok("show", run)
    return shown


@contextmanager
def watching(api: Cluster, run: str) -> Iterator[dict[str, set[str]]]:
    """The pods that were seen of each trial, by its step's id."""
    seen: dict[str, set[str]] = defaultdict(set)
    over = threading.Event()

    def look() -> None:
        while not over.wait(1.0):
            for pod in pods(api, run, "train"):
                seen[pod["metadata"]["labels"]["tidegate.dev/step-id"]].add(pod["metadata"]["name"])

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        over.set()
        looker.join()


def kill_drivers(api: Cluster, run: str, seed: int) -> None:
    """Delete the run's driver at seeded moments, a new one each time."""
    dice, killed = random.Random(seed), set[str]()
    for _ in range(KILLS[seed]):
        name = wait_for("a new driver", lambda: running(api, run, "driver", killed))
        time.sleep(dice.uniform(0, 5))
        api.delete("Pod", name)
        killed.add(name)


def killed_again_and_again(onto: Onto, api: Cluster, seed: int) -> None:
    own = ("--set", f"training.seed={seed}", "--set", f"serving.endpoint=killed-{seed}")
    run = detached(onto, "digits-search", *SIX, *SLOW, *EASY, *own)
    with watching(api, run) as seen:
        kill_drivers(api, run, seed)
        shown = ended(onto, api, run, 900)
    assert (shown["status"], len(shown["trials"])) == ("done", 6)
    best = max(shown["trials"], key=lambda trial: trial["metrics"]["test_accuracy"])
    assert shown["champion"] == best["id"]
    assert {trial["id"]: len(seen[trial["id"]]) for trial in shown["trials"]} == dict.fromkeys(seen, 1)
    parents, children = mlflow_runs(onto, run)
    assert (len(parents), len(children)) == (1, 6)
    assert left(api, run) == []
    # The node has two CPUs: three endpoints would take the room of what comes next.
    onto.ok("delete", f"killed-{seed}")


@pytest.mark.slow
def test_ten_drivers_killed_end_as_if_nothing_had_been(onto: Onto, api: Cluster) -> None:
    with ThreadPoolExecutor(len(KILLS)) as pool:
        list(pool.map(lambda seed: killed_again_and_again(onto, api, seed), KILLS))


@pytest.mark.slow
def test_a_restarted_api_server_and_a_forgetful_etcd_lose_nothing(
    onto: Onto, api: Cluster, installed: Layout
) -> None:
    own = ("--set", "training.seed=8", "--set", "serving.endpoint=restarted")
    run = detached(onto, "digits-search", *SIX, *EASY, *own)
    wait_for("a trial", lambda: running(api, run, "train", set()))
    faults.restart(installed, "apiserver")
    time.sleep(2)
    faults.compact(installed)
    faults.restart(installed, "apiserver")
    shown = ended(onto, api, run)
    assert (shown["status"], len(shown["trials"])) == ("done", 6)
    assert left(api, run) == []


@pytest.mark.slow
def test_a_trial_whose_pod_is_killed_starts_again_and_the_run_says_so(onto: Onto, api: Cluster) -> None:
    more = ("--set", "training.epochs=40", "--set", "training.seed=77", "--set", "serving.endpoint=restarted")
    run = detached(onto, "digits", *more, *EASY)
    first = wait_for("the trial", lambda: running(api, run, "train", set()))
    time.sleep(2)
    api.delete("Pod", first)
    shown = ended(onto, api, run)
    assert shown["status"] == "done"
    told = onto("logs", run, "driver").stdout
    assert "its pod was deleted; it starts again" in told


@pytest.mark.parametrize(
    "step", ["prepare", "train", pytest.param("package", marks=pytest.mark.slow), "deploy"]
)
def test_cancel_leaves_nothing(onto: Onto, api: Cluster, step: str) -> None:
    seed = {"prepare": 101, "train": 102, "package": 103, "deploy": 104}[step]
    own = ("--set", f"data.split.seed={seed}", "--set", "serving.endpoint=cancelled")
    run = detached(onto, "digits", "--set", "training.epochs=3", *own, *EASY)
    labels = "tidegate.dev/endpoint=cancelled"

    def begun() -> bool:
        # Its release is promoted seconds later: as soon as there is something to take back.
        if step == "deploy":
            return bool(api.list("Deployment", labels))
        return step in [known["step"] for known in onto.ok("show", run)["steps"]]

    wait_for(step, begun, 240)
    assert onto.ok("cancel", run)["status"] == "cancelled"
    assert left(api, run) == []
    assert [kind for kind in ("Pod", "Deployment", "HTTPRoute") if api.list(kind, labels)] == []
    assert onto("cancel", run).code == 2
