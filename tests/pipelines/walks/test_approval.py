"""A run waits for people, with no process of its own, and goes on or ends as they say."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.infra.notifications.test_channels import Receiver, receiver
from tidegate.pipelines.commands.schedules.late import end_late
from tidegate.pipelines.state.approvals import find_request
from tidegate.pipelines.state.home import Home

__all__ = ["receiver"]
FILE = """
name: asked
data: {source: ./rows.csv, target: y}
model: {family: linear}
training: {backend: numpy, epochs: 2, optimizer: {name: sgd, learning_rate: 0.1}}
gate: [{metric: test_accuracy, improve_on_champion: null}, {approval: 1}]
notify: {to: webhook, secret: hook, on: [waiting, released, refused, cancelled]}
"""


@pytest.fixture
def file(cli: Cli, tmp_path: Path, receiver: Receiver) -> Path:
    secret = Home(cli.home).path / "secrets" / "hook.env"
    secret.parent.mkdir()
    secret.write_text(f"URL={receiver.url}\n")
    secret.chmod(0o600)
    write(tmp_path, 120)
    path = tmp_path / "experiment.yaml"
    path.write_text(FILE)
    return path


def write(folder: Path, number: int) -> None:
    lines = [f"{at % 17},{at % 5},{'yes' if at % 17 > 8 else 'no'}" for at in range(number)]
    (folder / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")


def told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["event"] for _, body in receiver.got]


def submitted(cli: Cli, file: Path) -> dict[str, Any]:
    ran = cli("submit", str(file), "--json")
    assert ran.code == 4, ran.stderr
    answer: dict[str, Any] = ran.json
    assert answer["status"] == "waiting"
    assert answer["release"] is None
    return answer


def test_a_run_waits_and_is_released_when_it_is_approved(cli: Cli, file: Path, receiver: Receiver) -> None:
    run = submitted(cli, file)["run"]
    assert not [known for known in cli.processes() if "driver" in " ".join(known.cmdline())]
    assert told(receiver) == ["waiting"]
    assert cli.ok("endpoints") == []
    (listed,) = cli.ok("runs", "--status", "waiting")
    assert listed["run"] == run
    shown = cli("show", run).stdout
    assert "it waits for people: 0 of 1 approved" in shown
    assert f"tidegate approve {run}" in shown
    waited = cli("wait", run, "--timeout", "1s", "--json")
    assert (waited.code, waited.json["status"]) == (4, "waiting")
    assert "0 of 1 approved" in waited.stderr
    assert submitted(cli, file)["run"] == run  # the same submit again asks for the same
    assert told(receiver) == ["waiting"]
    refused = cli("delete", run)
    assert refused.code == 2
    assert "it is waiting" in refused.stderr

    write(file.parent, 200)  # tonight's data: what was approved does not depend on it
    done = cli.ok("approve", run, "-m", "looks right")
    assert (done["status"], done["release"]) == ("done", 1)
    assert done["approval"]["decisions"][0]["reason"] == "looks right"
    assert {step["step"]: step["status"] for step in done["steps"]}["train"] == "cached"
    assert told(receiver) == ["waiting", "released"]
    assert "approved by " in cli("show", run).stdout
    again = cli("approve", run)
    assert again.code == 2
    assert f"run {run} is done" in again.stderr
    assert [(one["kind"], one["reason"]) for one in cli.ok("history", "asked", "--verify")["entries"]] == [
        ("approved", "looks right"),
        ("released", ""),
    ]


def test_a_run_is_refused_or_cancelled(cli: Cli, file: Path, receiver: Receiver) -> None:
    run = submitted(cli, file)["run"]
    assert cli.ok("cancel", run)["status"] == "cancelled"
    assert find_request(Home(cli.home).store, run) is None
    late = cli("approve", run)
    assert late.code == 2
    assert f"run {run} is cancelled" in late.stderr
    assert submitted(cli, file)["run"] == run  # who submits it again asks again
    ended = cli.ok("refuse", run, "-m", "the labels are wrong")
    assert ended["status"] == "refused"
    assert ended["reason"].endswith(": the labels are wrong")
    assert told(receiver) == ["waiting", "cancelled", "waiting", "refused"]
    (entry,) = cli.ok("history")["entries"]
    assert entry["kind"] == "refused"
    assert entry["facts"]["why"].endswith(": the labels are wrong")
    assert cli.ok("endpoints") == []


@pytest.mark.slow
def test_what_nobody_approved_in_time_is_told_as_refused(cli: Cli, file: Path, receiver: Receiver) -> None:
    """By the home's scheduler, whose part this is; without one the run counts as refused all the same."""
    file.write_text(file.read_text().replace("approval: 1", "approval: 1, by: 3s"))
    run = submitted(cli, file)["run"]
    home = Home(cli.home)
    end_late(home, run)  # too early
    assert told(receiver) == ["waiting"]
    while home.folder_of(run).read().status == "waiting":
        time.sleep(0.1)
    waited = cli("wait", run)
    assert waited.code == 3
    assert "was not approved in the time that gate.by gives" in waited.stdout
    end_late(home, run)
    assert told(receiver) == ["waiting", "refused"]
    end_late(home, run)
    assert told(receiver) == ["waiting", "refused"]
    assert cli("approve", run).code == 2
