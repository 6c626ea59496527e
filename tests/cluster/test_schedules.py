"""A schedule of the cluster: set from one machine, which goes; its runs start by themselves, each once."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.testbed.host.errors import TestbedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.install import NAMESPACE
from tidegate.infra.testbed.running import kubectl

from .conftest import Onto, wait_for
from .identities import account
from .tiny import write_experiment

pytestmark = pytest.mark.cluster
NAME = f"night{int(time.time())}"
SCHEDULER = "app.kubernetes.io/component=scheduler"
EACH_MINUTE = "schedule: {cron: '* * * * *'}"


@pytest.fixture(scope="module")
def scheduled(onto: Onto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onto]:
    """A machine with the same cluster, after the one that set the schedule is gone."""
    folder = tmp_path_factory.mktemp("night")
    gone = Onto(folder / "home", onto.env)
    said = gone.ok("submit", str(write_experiment(folder, NAME, EACH_MINUTE)), "--schedule")
    assert "problem" not in said
    shutil.rmtree(folder)
    yield onto
    onto("schedule", "delete", NAME)
    onto("delete", NAME)


def recent(onto: Onto) -> list[dict[str, Any]]:
    (found,) = onto.ok("schedule", "list", NAME)
    entries: list[dict[str, Any]] = found["recent"]
    return entries


def pods(api: Cluster) -> list[str]:
    return [pod["metadata"]["name"] for pod in api.list("Pod", SCHEDULER)]


def drivers(api: Cluster, run: str) -> list[str]:
    """The driver's Jobs that were made: an object that is made again has another uid."""
    found = api.get("Job", f"driver-{run}")
    return [] if found is None else [found["metadata"]["uid"]]


@pytest.mark.parametrize(
    ("verb", "what", "answer"),
    [
        ("create", "jobs", "yes"),
        ("list", "pods", "yes"),
        ("get", "secrets", "no"),
        ("create", "pods", "no"),
        ("patch", "deployments", "no"),
    ],
)
def test_its_account_starts_drivers_and_no_more(
    installed: Layout, tmp_path: Path, verb: str, what: str, answer: str
) -> None:
    own = account(installed, tmp_path, NAMESPACE, "tidegate-scheduler")
    argv = ("-n", NAMESPACE, "auth", "can-i", verb, what)
    if answer == "yes":
        assert own.kubectl(*argv).strip() == answer
    else:
        with pytest.raises(TestbedError):  # its exit code says no
            own.kubectl(*argv)


def test_check_shows_when_it_last_looked(onto: Onto) -> None:
    (item,) = [one for one in onto("check", "--json").json if one["name"] == "scheduler"]
    assert item["ok"] and "last looked" in item["detail"]


def test_a_run_starts_by_itself(scheduled: Onto) -> None:
    entry = wait_for("a start", lambda: next(iter(recent(scheduled)), None), 150)
    assert (entry["cause"], entry["outcome"]) == ("cron", "started")
    assert scheduled("wait", entry["run"], "--timeout", "8m").code == 0
    shown = scheduled.ok("show", entry["run"])
    assert shown["status"] == "done"
    assert shown["cause"].startswith(f"{NAME} cron ")


def test_the_same_data_is_not_trained_again_and_a_pause_holds(scheduled: Onto) -> None:
    scheduled.ok("schedule", "run", NAME)
    entry = wait_for("unchanged", lambda: next((e for e in recent(scheduled) if e["cause"] == "hand"), None))
    assert entry["outcome"] == "unchanged"
    scheduled.ok("schedule", "pause", NAME)
    before = recent(scheduled)[-1]
    time.sleep(75)  # a moment passes
    assert recent(scheduled)[-1] == before


def test_a_scheduler_that_is_killed_in_the_middle_of_a_start(
    scheduled: Onto, api: Cluster, installed: Layout, tmp_path: Path
) -> None:
    """Its pod is killed as soon as the start has begun; the next one starts the run, once."""
    file = write_experiment(tmp_path, NAME, EACH_MINUTE, rows=130, period=19)
    other = Onto(tmp_path / "home", scheduled.env)
    other.ok("submit", str(file), "--schedule")  # it is still paused
    known = len(recent(other))
    (before,) = pods(api)
    other.ok("schedule", "run", NAME)
    wait_for(
        "the start", lambda: other.ok("schedule", "list", NAME)[0]["begun"] or len(recent(other)) > known
    )
    kubectl(installed, "-n", NAMESPACE, "delete", "pod", before, "--grace-period=0", "--force")
    wait_for("the start's end", lambda: len(recent(other)) > known, 240)
    entries = recent(other)[known:]
    assert [(one["cause"], one["outcome"]) for one in entries] == [("hand", "started")]
    assert before not in pods(api)
    run = entries[0]["run"]
    first = drivers(api, run)
    assert len(first) == 1
    assert other("wait", run, "--timeout", "8m").code == 0
    assert drivers(api, run) == first
    assert len(recent(other)) == known + 1


def test_a_scheduler_that_is_gone_is_told(scheduled: Onto, installed: Layout) -> None:
    scale = ("-n", NAMESPACE, "scale", "deployment/tidegate-scheduler")
    kubectl(installed, *scale, "--replicas=0")
    try:
        wait_for("the sentence", lambda: "does not run" in scheduled("schedule", "list").stdout, 240)
        (item,) = [one for one in scheduled("check", "--json").json if one["name"] == "scheduler"]
        assert not item["ok"] and "does not look" in item["detail"]
    finally:
        kubectl(installed, *scale, "--replicas=1")
    wait_for("the scheduler", lambda: "does not run" not in scheduled("schedule", "list").stdout, 180)
