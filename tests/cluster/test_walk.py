"""One experiment file to a live endpoint on a real cluster, and the same numbers as on one machine."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.running import kubectl

from ..conftest import Cli
from .conftest import Onto, left

pytestmark = pytest.mark.cluster
# An endpoint of its own, and rows split as never before: whatever a testbed that was up already keeps, every step
# has its work to do, and there is no champion to beat.
ENDPOINT = f"walk{int(time.time())}"
QUICK = (
    *("--set", "training.epochs=5", "--set", "gate.minimum=0.5"),
    *("--set", f"data.split.seed={int(time.time()) % 100_000}", "--set", f"serving.endpoint={ENDPOINT}"),
)


@pytest.fixture(scope="module")
def submitted(onto: Onto) -> Iterator[dict[str, Any]]:
    answer: dict[str, Any] = onto.ok("submit", "digits", *QUICK)
    yield answer
    onto.ok("delete", ENDPOINT)


def test_the_target_can_do_the_job(onto: Onto) -> None:
    items = onto("check", "--json").json
    assert [item for item in items if not item["ok"]] == []


def test_a_submit_answers_with_everything(submitted: dict[str, Any], api: Cluster) -> None:
    assert (submitted["status"], submitted["runtime"], submitted["synced"]) == ("done", "onnx", True)
    assert [step["status"] for step in submitted["steps"]] == ["done"] * 7
    assert submitted["parity"] < 1e-5
    assert left(api, submitted["run"]) == []


def test_the_metrics_are_those_of_a_local_run(submitted: dict[str, Any], tmp_path: Path) -> None:
    local = Cli(tmp_path / "home")
    try:
        metrics = local.ok("submit", "digits", *QUICK)["metrics"]
    finally:
        local("down")
    assert submitted["metrics"].keys() == metrics.keys()
    assert {key: pytest.approx(value, abs=1e-6) for key, value in metrics.items()} == submitted["metrics"]


def test_the_curl_line_answers_through_the_gateway(submitted: dict[str, Any]) -> None:
    done = subprocess.run(submitted["curl"], shell=True, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["model"], answer["release"]) == (ENDPOINT, submitted["release"])
    assert submitted["endpoint"] in submitted["curl"]


def test_the_endpoint_answers_by_its_name_inside(submitted: dict[str, Any], installed: Layout) -> None:
    assert submitted["status"] == "done"
    pods = kubectl(
        installed, "-n", "tidegate", "get", "pods", "-l", f"tidegate.dev/endpoint={ENDPOINT}", "-o", "name"
    )
    script = (
        f"import urllib.request as u; print(u.urlopen('http://{ENDPOINT}:3000/contract', timeout=5).status)"
    )
    argv = ["-n", "tidegate", "exec", pods.split()[0], "-c", "server", "--", "python", "-c", script]
    assert kubectl(installed, *argv).strip() == "200"


def test_mlflow_keeps_the_run_in_postgres_and_its_model_in_s3(
    submitted: dict[str, Any], installed: Layout
) -> None:
    run = submitted["mlflow_url"].rpartition("/")[2].partition("?")[0]
    base = submitted["mlflow_url"].partition("/#")[0]
    with urllib.request.urlopen(f"{base}/api/2.0/mlflow/runs/get?run_id={run}", timeout=30) as answer:
        known = json.load(answer)["run"]
    assert known["info"]["status"] == "FINISHED"
    count = f"select count(*) from metrics where run_uuid = '{run}'"
    query = [
        "-n",
        "tidegate",
        "exec",
        "mlflow-db-0",
        "--",
        "psql",
        "-U",
        "mlflow",
        "-d",
        "mlflow",
        "-Atc",
        count,
    ]
    assert int(kubectl(installed, *query)) >= len(submitted["metrics"])
    child = submitted["trials"][0]["mlflow_run_id"]
    found = list((installed.state / "s3").rglob(f"*{child}*"))
    assert found, "no artifact of the trial is in the object store"


def test_the_same_submit_again_is_the_same_run(onto: Onto, submitted: dict[str, Any]) -> None:
    again = onto.ok("submit", "digits", *QUICK)
    same = ("run", "release", "metrics", "mlflow_url", "endpoint")
    assert {key: again[key] for key in same} == {key: submitted[key] for key in same}
    assert {step["status"] for step in again["steps"]} == {"cached"}


def test_another_machine_sees_the_run(onto: Onto, submitted: dict[str, Any], tmp_path: Path) -> None:
    other = Onto(tmp_path / "other", onto.env)
    assert submitted["run"] in [run["run"] for run in other.ok("runs")]
    assert other.ok("show", submitted["run"])["metrics"] == submitted["metrics"]
    assert "fingerprint" in other("logs", submitted["run"], "prepare").stdout
    assert other("show", "digits-nothing").code == 2
