"""MLflow hangs, is killed, or is not there at all: training does not notice, and nothing is lost."""

import contextlib
import itertools
import json
import os
import signal
import socket
import time
from typing import Any

import psutil
import pytest

from ..conftest import Cli
from .conftest import (
    QUICK,
    ask_mlflow,
    champion_run,
    check_mlflow,
    known_runs,
    new_run,
    pid_of,
    predict,
    row_of,
    strays,
    wait,
    wait_for,
    workers,
)

LONG = 500  # epochs: more than 10 s of training
LONGEST_GAP_S = 5.0  # between two epochs on a busy machine


def _epochs(cli: Cli, run: str) -> list[dict[str, Any]]:
    """The epochs that the trial has told its spool."""
    paths = list((cli.home / "spool" / run).glob("train-*.jsonl"))
    lines = paths[0].read_text().splitlines() if paths else []
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [event for event in told if event["id"].startswith("epoch-")]


def _history(cli: Cli, run_id: str) -> list[tuple[int, int, float]]:
    """Step, time and value of `loss`, as MLflow has them."""
    url, token, found = cli.ok("ui")["url"], "", []
    while True:
        query = {"run_id": run_id, "metric_key": "loss", "max_results": "1000", "page_token": token}
        page = ask_mlflow(url, "metrics/get-history", **query)
        found += [(int(one["step"]), int(one["timestamp"]), float(one["value"])) for one in page["metrics"]]
        token = page.get("next_page_token", "")
        if not token:
            return sorted(found)


@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_a_hanging_mlflow_costs_nothing(house: Cli, seconds: int) -> None:
    house.ok("ui")
    before = known_runs(house)
    epochs = LONG * max(1, seconds // 15)
    argv = [*QUICK, "--set", f"training.epochs={epochs}", "--set", f"description=stopped for {seconds} s"]
    submit = house.start("submit", "digits", *argv, "--json")
    run = new_run(house, before)
    wait_for("training", lambda: len(_epochs(house, run)) > 5)
    server = psutil.Process(pid_of(house, "mlflow"))
    server.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
        trained = len(_epochs(house, run))
    finally:
        server.send_signal(signal.SIGCONT)
    ended = wait(submit)

    assert ended.code == 0, ended.stderr
    assert ended.json["synced"], ended.stderr
    told = _epochs(house, run)
    assert 5 < trained <= len(told) == epochs
    gaps = [later["t"] - event["t"] for event, later in itertools.pairwise(told)]
    assert max(gaps) < LONGEST_GAP_S * 1000
    _, child = check_mlflow(house, run)
    assert _history(house, child) == [(one["step"], one["t"], one["values"]["loss"]) for one in told]


def test_a_killed_mlflow_is_started_again(house: Cli) -> None:
    before = known_runs(house)
    argv = ["submit", "digits", *QUICK, "--set", "training.seed=3"]
    submit = house.start(*argv, "--json")
    run = new_run(house, before)
    wait_for("training", lambda: _epochs(house, run))
    os.kill(pid_of(house, "mlflow"), signal.SIGKILL)
    ended = wait(submit)
    assert ended.code == 0, ended.stderr

    again = house.ok(*argv)

    assert (again["run"], again["synced"], again["metrics"]) == (run, True, ended.json["metrics"])
    child = check_mlflow(house, run)[1]
    assert champion_run(house) == child
    assert [step for step, _, _ in _history(house, child)] == list(range(8))


def test_no_mlflow_at_all(cli: Cli) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    without = Cli(cli.home, {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"})

    ran = without("submit", "digits", *QUICK, "--json")

    assert ran.code == 0, ran.stderr
    assert "trained, not synced" in ran.stderr
    assert (ran.json["status"], ran.json["synced"], ran.json["mlflow_url"]) == ("done", False, None)
    assert predict(ran.json["endpoint"], row_of(ran.json))["release"] == 1
    assert not workers(cli)

    synced = cli.ok("resume", ran.json["run"])

    assert (synced["status"], synced["synced"], synced["release"]) == ("done", True, 1)
    assert synced["metrics"] == ran.json["metrics"]
    parent, child = check_mlflow(cli, synced["run"])
    assert synced["mlflow_url"].partition("?")[0].endswith(parent)
    assert champion_run(cli) == child
    assert strays(cli) == []
