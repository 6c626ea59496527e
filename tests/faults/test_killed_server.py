"""kill -9 of the fork server in the middle of a search: it goes on, nothing is done twice, nothing is left behind."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tidegate.pipelines.executors.forking.servers import VARIABLE
from tidegate.pipelines.executors.forking.warm import VARIABLE as WARM
from tidegate.pipelines.executors.forking.warm import living

from ..conftest import Cli
from .conftest import (
    check_store,
    known_runs,
    mlflow_runs,
    new_run,
    read_record,
    strays,
    wait,
    wait_for,
    workers,
)

TRIALS, EPOCHS = 3, 60
SEARCH = [
    *("submit", "digits-search", "--set", f"training.epochs={EPOCHS}", "--set", "search.method=random"),
    *("--set", f"search.trials={TRIALS}", "--set", "gate=[]"),
]
EPOCH = re.compile(rf"^epoch (\d+)/{EPOCHS} ", re.MULTILINE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The trials of the same search where nothing goes wrong."""
    cli = Cli(Path(tmp_path_factory.mktemp("undisturbed")) / "home")
    trials: list[dict[str, Any]] = cli.ok(*SEARCH)["trials"]
    cli("down")
    return trials


def _logs(cli: Cli, run: str) -> dict[str, str]:
    """What the finished trials have printed."""
    steps = [
        step for step in read_record(cli, run)["steps"] if (step["step"], step["status"]) == ("train", "done")
    ]
    folder = cli.home / "runs" / run / "logs"
    return {step["id"]: (folder / f"{step['id']}.log").read_text() for step in steps}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param({VARIABLE: "", WARM: "5m"}, id="stays"),
        pytest.param({VARIABLE: "", WARM: "0"}, id="own", marks=pytest.mark.slow),
    ],
)
def test_a_search_goes_on_without_its_server(
    tmp_path: Path, undisturbed: list[dict[str, Any]], way: dict[str, str]
) -> None:
    cli = replace(Cli(tmp_path / "home"), env=way)
    before = known_runs(cli)
    submit = cli.start(*SEARCH, "--json")
    run = new_run(cli, before)
    wait_for("the first trial's end", lambda: _logs(cli, run))
    running = wait_for(
        "a trial's process", lambda: [one for one in workers(cli) if "train-" in str(one.cmdline())]
    )
    done, server = _logs(cli, run), psutil.Process(running[0].ppid())
    assert "tidegate.pipelines.executors.forking.serve" in server.cmdline()
    server.kill()
    ended = wait(submit)

    assert ended.code == 0, ended.stderr
    answer = ended.json
    assert (answer["status"], answer["synced"], len(answer["trials"])) == ("done", True, TRIALS)
    told = ("params", "metrics", "pruned")
    assert [{key: one[key] for key in told} for one in answer["trials"]] == [
        {key: one[key] for key in told} for one in undisturbed
    ]
    after = _logs(cli, run)
    assert len(after) == TRIALS
    assert {key: after[key] for key in done} == done
    assert all(len(EPOCH.findall(text)) == EPOCHS for text in done.values())
    parents, children = mlflow_runs(cli, run)
    assert (len(parents), len(children)) == (1, TRIALS)
    check_store(cli)
    left = {record.pid for record in living(cli.home / "processes")}
    assert server.pid not in left
    assert bool(left) is (way[WARM] != "0")
    assert strays(cli) == []
    cli("down")
    assert cli.processes() == []
