"""What a local executor makes ready for the steps that it will be asked for."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tidegate.pipelines.executors.forking.servers import VARIABLE
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.home import Home


def servers_for(home: Home, executor: LocalExecutor, steps: slice, **training: Any) -> list[psutil.Process]:
    """The processes that are new once these steps of a run are expected."""
    document = {"name": "soon", "data": {"dataset": "digits"}, "model": {"family": "mlp"}}
    experiment = validate({**document, "training": training}, "here")
    plan = make_plan(experiment, gather(experiment, home))
    folder = home.folder_of(plan.run)
    folder.create()
    before = set(psutil.Process().children())
    executor.expect(iter(plan.steps[steps]), folder.log)
    return [process for process in psutil.Process().children() if process not in before]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(VARIABLE, "")
    return Home(tmp_path / "home")


def test_a_training_that_comes_has_its_server_before_the_first_step(home: Home) -> None:
    executor = LocalExecutor()
    (server,) = servers_for(home, executor, slice(None))
    assert {"--now", "--fd"} <= set(server.cmdline())
    assert '"name":"train"' in " ".join(server.cmdline())
    assert servers_for(home, executor, slice(None)) == []  # there is one already
    del executor
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_no_server_where_nothing_will_be_forked(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers_for(home, LocalExecutor(), slice(2, None)) == []  # the training is done
    assert servers_for(home, LocalExecutor(), slice(None), backend="numpy", optimizer="sgd") == []
    monkeypatch.setenv(VARIABLE, "0")
    assert servers_for(home, LocalExecutor(), slice(None)) == []
    monkeypatch.setenv(VARIABLE, f"somebody-{os.getpid()}")
    assert servers_for(home, LocalExecutor(), slice(None)) == []
