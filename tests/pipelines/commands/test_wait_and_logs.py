"""wait ends as the run did, or with 4 while it still runs; logs of an endpoint are its servers'."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.pipelines.released import PROOF
from tidegate.infra.errors import ConflictError
from tidegate.infra.system.locks import lock
from tidegate.pipelines.commands.inspect import logs
from tidegate.pipelines.commands.wait import wait
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.state.home import Home, RunFolder, RunRecord, StepRecord
from tidegate.serving.deployment.release import promote, reserve, update


def recorded(home: Home, run: str, status: str) -> RunFolder:
    folder = home.folder_of(run)
    folder.create()
    record = {"run": run, "name": "wine", "endpoint": "wine", "status": status, "created": time.time()}
    folder.write(RunRecord.model_validate(record | {"reason": f"why {status}", "experiment": {}}))
    return folder


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("refused", 3), ("failed", 1), ("cancelled", 1)])
def test_the_exit_code_is_the_runs(tmp_path: Path, status: str, code: int) -> None:
    home = Home(tmp_path / "home")
    recorded(home, "wine-1", status)
    ended = wait(home, "wine")
    assert (ended.exit_code, ended.data["status"], ended.data["run"]) == (code, status, "wine-1")
    assert (f"why {status}" in ended.text) == (status != "done")


def test_a_run_that_still_runs(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    folder = recorded(home, "wine-1", "running")
    with lock(folder.lock):
        waited = wait(home, "wine-1", timeout="0.1s")
    assert (waited.exit_code, waited.data) == (4, {"run": "wine-1", "status": "running"})
    assert wait(home, "wine-1", timeout="5s").exit_code == 1  # its driver died
    with pytest.raises(UsageError, match='--timeout is "soon"; expected a time such as 30s'):
        wait(home, "wine-1", timeout="soon")


def test_logs_of_a_step_from_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home")
    folder = recorded(home, "wine-1", "done")
    steps = [StepRecord(id="prepare-1", step="prepare", status="cached")]
    folder.write(folder.read().model_copy(update={"steps": steps}))
    folder.log("train-0-2").write_text("epoch 1\n")
    assert logs(home, "wine-1", "prepare", follow=False, quiet=False).data["log"] == ""
    said = "prepare-1 has printed nothing in run wine-1: its result was taken from the cache"
    assert said in capsys.readouterr().err
    with pytest.raises(UnknownNameError, match='no step "trian" here; run wine-1 has prepare-1, train-0-2'):
        logs(home, "wine-1", "trian", follow=False, quiet=True)


def test_logs_of_an_endpoint(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    facts = {"run": "wine-1", "trial": "t", "key": "k", "bundle": "b", "bento": "wine:1"}
    for name in ("wine", "prices"):
        update(home.store, name, lambda s: reserve(s, **facts, runtime="onnx", parity=PROOF), ConflictError)
        update(home.store, name, lambda state: promote(state, 1), ConflictError)
        (home.endpoints / name).mkdir()
        (home.endpoints / name / "0-1.log").write_text(f"served {name}\n")
    recorded(home, "wine-1", "done").log("prepare-1").write_text("read 5 rows\n")
    assert "read 5 rows" in logs(home, "wine", None, follow=False, quiet=True).data["log"]
    found = logs(home, "wine", None, follow=False, quiet=True, endpoint=True).data
    assert found == {"endpoint": "wine", "release": 1, "log": "== release 1\nserved wine\n"}
    assert logs(home, "prices", None, follow=False, quiet=True).data["log"].endswith("served prices\n")
    with pytest.raises(UsageError, match='"prices" is an endpoint, which has no step "train"'):
        logs(home, "prices", "train", follow=False, quiet=True)
    with pytest.raises(UnknownNameError, match='no run "price" here; did you mean "prices"'):
        logs(home, "price", None, follow=False, quiet=True)
    with pytest.raises(UnknownNameError, match='no endpoint "wines" here; did you mean "wine"'):
        logs(home, "wines", None, follow=False, quiet=True, endpoint=True)
