"""cancel, signals, --detach, down and a reboot: nothing is left behind, and everything goes on from there."""

import contextlib
import signal
import socket
import time
from typing import Any

import psutil
import pytest

from ..conftest import Cli
from .conftest import (
    QUICK,
    check_mlflow,
    check_store,
    known_runs,
    mlflow_runs,
    new_run,
    predict,
    read_record,
    row_of,
    settles,
    strays,
    wait,
    wait_for,
    workers,
)

AT_ONCE_S = 15.0  # what is cached, or only handed over, on a machine that does much else too
# A port of our own: while this endpoint is down, another home may take the next free one.
with socket.create_server(("127.0.0.1", 0)) as probe:
    SUBMIT = [*QUICK, "--set", f"serving.port={probe.getsockname()[1]}"]
LONG = ["--set", "training.epochs=2000"]


@pytest.fixture(scope="module")
def first(house: Cli) -> dict[str, Any]:
    """A submit that nothing disturbed: the endpoint is live from here on."""
    answer: dict[str, Any] = house.ok("submit", "digits", *SUBMIT)
    return answer


def _training(cli: Cli, run: str) -> None:
    wait_for("training", lambda: list((cli.home / "runs" / run / "progress").glob("train*.json")))


def _is_cancelled(cli: Cli, run: str) -> str:
    """Stopped in good order, MLflow knows it; returns the MLflow run."""
    assert cli.ok("show", run)["status"] == "cancelled"
    assert strays(cli) == []
    check_store(cli)
    parents, children = mlflow_runs(cli, run)
    assert [one["info"]["status"] for one in (*parents, *children)] == ["KILLED", "KILLED"]
    return str(parents[0]["info"]["run_id"])


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM],
    ids=lambda number: number.name,
)
def test_a_signal_cancels_and_resume_goes_on(
    house: Cli, first: dict[str, Any], number: signal.Signals
) -> None:
    before = known_runs(house)
    submit = house.start("submit", "digits", *SUBMIT, "--set", f"training.seed={10 + number}", "--json")
    run = new_run(house, before)
    _training(house, run)
    submit.send_signal(number)
    stopped = wait(submit)

    assert stopped.code == 1
    assert "resume" in stopped.stderr.splitlines()[-1]
    assert "Traceback" not in stopped.stderr
    parent = _is_cancelled(house, run)
    assert predict(first["endpoint"], row_of(first))["release"] >= 1

    resumed = house.ok("resume", run)
    assert (resumed["run"], resumed["status"], resumed["synced"]) == (run, "done", True)
    assert check_mlflow(house, run)[0] == parent


def test_detach_then_follow_the_logs(house: Cli, first: dict[str, Any]) -> None:
    began = time.monotonic()
    left = house.ok("submit", "digits", *SUBMIT, "--set", "description=detached", "--detach")
    assert time.monotonic() - began < AT_ONCE_S
    assert left["status"] in ("queued", "running")

    followed = house("logs", left["run"], "-f")

    assert followed.code == 0
    assert "is live at" in followed.stdout
    settles(house)  # the driver still waits for MLflow
    ended = house.ok("show", left["run"])
    assert (ended["status"], ended["synced"], ended["metrics"]) == ("done", True, first["metrics"])
    check_mlflow(house, left["run"])


@pytest.mark.usefixtures("first")
def test_cancel_a_detached_run(house: Cli) -> None:
    run = house.ok("submit", "digits", *SUBMIT, *LONG, "--detach")["run"]
    _training(house, run)

    assert house.ok("cancel", run) == {"run": run, "status": "cancelled"}

    settles(house)
    _is_cancelled(house, run)
    again = house("cancel", run)
    assert again.code == 2
    assert "cancelled" in again.stderr


@pytest.mark.usefixtures("first")
def test_down_while_a_run_is_running(house: Cli) -> None:
    run = house.ok("submit", "digits", *SUBMIT, *LONG, "--set", "description=down", "--detach")["run"]
    _training(house, run)

    removed = house.ok("down")["removed"]

    assert f"run {run}" in removed
    assert "process mlflow" in removed
    wait_for("the end of all", lambda: not house.processes(), timeout=20)
    assert read_record(house, run)["status"] == "cancelled"

    started = house.ok("up")
    names = [f"endpoint {one['name']}" for one in house.ok("endpoints")]
    assert (started["started"], started["failed"]) == (["mlflow", *names], [])
    assert all(one["live"] for one in house.ok("endpoints"))
    assert house.ok("up")["running"] == ["mlflow", *names]


@pytest.mark.usefixtures("first")
def test_a_reboot(house: Cli) -> None:
    """Everything dies at once; the same submit again brings the endpoint back as it was."""
    before = house.ok("submit", "digits", *SUBMIT)
    live = house.ok("endpoints")[0]["release"]
    busy = house.start("submit", "digits", *SUBMIT, "--set", "training.seed=77")
    wait_for("a step", lambda: workers(house))
    _kill_all(house)
    wait(busy)
    assert house.processes() == []
    assert [one["live"] for one in house.ok("endpoints")] == [False]

    began = time.monotonic()
    after = house.ok("submit", "digits", *SUBMIT)

    assert time.monotonic() - began < AT_ONCE_S
    assert {**after, "mlflow_url": None} == {**before, "mlflow_url": None}
    assert predict(after["endpoint"], row_of(after))["release"] == live
    assert {one["status"] for one in house.ok("runs")} <= {"done", "cancelled", "failed"}
    assert strays(house) == []
    check_store(house)


def _kill_all(cli: Cli) -> None:
    while found := cli.processes():
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=5)
