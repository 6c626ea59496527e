"""delete and gc: what only a deleted run needs goes at once, what others share or serve stays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.pipelines.released import PROOF
from tidegate.infra.errors import ConflictError
from tidegate.infra.mlflow.replay import State
from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.system.locks import lock
from tidegate.pipelines.commands.endpoints.lifecycle import rollback
from tidegate.pipelines.commands.removal import delete, gc
from tidegate.pipelines.driver.mlflow_deletion import has_pending, pending_aliases
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.recordings.places import folder_of
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.serving.deployment.release import keep_newest, load, promote, reserve, update
from tidegate.serving.errors import ReleaseError

DAY = 86400.0


def recorded(home: Home, run: str, steps: dict[str, str], *, days: float = 0.0, status: str = "done") -> None:
    """A run that ended so many days ago, with a file of each of its steps: step's key -> its content."""
    known = [{"id": key, "step": "train", "status": "done", "key": key} for key in steps]
    record = {
        "run": run,
        "name": "wine",
        "endpoint": "wine",
        "status": status,
        "experiment": {},
        "steps": known,
    }
    ended = time.time() - days * DAY
    folder = home.folder_of(run)
    folder.create()
    folder.write(RunRecord.model_validate(record | {"created": ended, "finished": ended}))
    for key, content in steps.items():
        file = home.path / "file.txt"
        file.write_text(content)
        manifest = {"step": "train", "run": run, "outputs": {"keras": home.store.put(file).model_dump()}}
        if home.store.read(f"steps/{key}.json") is None:
            home.store.write(f"steps/{key}.json", json.dumps(manifest).encode(), None)


def release(home: Home, run: str) -> None:
    facts = {"run": run, "trial": "t", "key": run, "bundle": "b", "bento": f"{run}:1"}
    state = update(
        home.store, "wine", lambda s: reserve(s, **facts, runtime="onnx", parity=PROOF), ConflictError
    )
    update(home.store, "wine", lambda s: promote(s, state.releases[-1].number), ConflictError)


def contents(home: Home) -> set[str]:
    return {path.read_text() for path in (home.path / "store" / "objects").rglob("*.txt")}


def test_a_deleted_run_frees_what_only_it_needs(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    recorded(home, "wine-1", {"a": "shared", "b": "of the first alone"})
    recorded(home, "wine-2", {"a": "shared", "c": "of the second"})
    deleted = delete(home, "wine-1")
    assert contents(home) == {"shared", "of the second"}  # though it is young: nothing else runs
    assert deleted.data["freed"] > len("of the first alone")
    assert {"run wine-1", "steps/b.json"} <= set(deleted.data["removed"])
    assert deleted.text.splitlines()[-1].startswith("run wine-1 is deleted; ")
    assert [folder.run for folder in home.run_folders()] == ["wine-2"]
    with pytest.raises(UnknownNameError, match='no endpoint or run "wine-1" here; did you mean "wine-2"'):
        delete(home, "wine-1")


def test_what_is_used_is_not_deleted(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for run in ("old", "new", "busy"):
        recorded(home, run, {run: run}, days=40, status="running" if run == "busy" else "done")
    for run in ("old", "new"):
        release(home, run)
    messages = {
        "new": 'it is release 2 of endpoint "wine", which is live; delete the endpoint first',
        "old": 'it is release 1 of endpoint "wine", which `tidegate rollback` can serve again',
        "busy": "it is running; `tidegate cancel busy` stops it",
    }
    with lock(home.folder_of("busy").lock):
        for run, message in messages.items():
            with pytest.raises(UsageError, match=f"run {run} cannot be deleted: {message}"):
                delete(home, run)
        assert {one["run"] for one in gc(home, older_than="30d").data["kept"]} == {"old", "new", "busy"}
    assert contents(home) == {"old", "new", "busy"}


def test_what_only_a_forgotten_release_needs_goes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for run in ("old", "new"):
        recorded(home, run, {run: run}, days=40)
        release(home, run)
    update(home.store, "wine", lambda state: keep_newest(state, 1), ConflictError)
    assert [one["run"] for one in gc(home, older_than="30d").data["kept"]] == ["new"]
    assert contents(home) == {"new"}
    with pytest.raises(ReleaseError, match=r"no release before 2 to go back to"):
        rollback(home, "wine", None)


def test_gc_deletes_old_runs(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    recorded(home, "wine-1", {"a": "shared", "b": "old"}, days=40)
    recorded(home, "wine-2", {"a": "shared", "c": "fresh"}, days=20)
    assert gc(home).data == {"removed": [], "freed": 0, "kept": []}
    collected = gc(home, older_than="30d")
    assert (contents(home), collected.data["kept"]) == ({"shared", "fresh"}, [])
    assert "run wine-1" in collected.data["removed"]
    assert collected.text.splitlines()[-1].endswith("are free")
    with pytest.raises(UsageError, match='--older-than is "30"; expected an age such as 30d'):
        gc(home, older_than="30")


def test_mlflow_is_not_started_to_forget_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(tmp_path / "home")
    recorded(home, "wine-1", {"a": "old"})
    release(home, "wine-0")
    Spool(home.spool / "wine-1").write("run", "run", name="wine-1", experiment="wine", tags={})
    state = State(uri="http://127.0.0.1:5000", experiment_id="1", run_id="abc")
    (home.spool / "wine-1" / "run.sync.json").write_text(state.model_dump_json())
    figure = home.path / "mlflow" / "artifacts" / "1" / "abc" / "figure.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes(bytes(5000))
    assert delete(home, "wine-1").data["freed"] > 5000
    assert delete(home, "wine").data["note"] == ""
    assert not figure.exists()
    assert has_pending(home)
    assert [path.name for path in pending_aliases(home)] == ["wine"]
    assert not list(home.processes.glob("mlflow*"))


def test_whoever_is_killed_while_an_endpoint_is_deleted_leaves_no_recorded_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    release(home, "wine-1")
    folder = folder_of(home, "wine")
    folder.mkdir(parents=True)
    (folder / "rows.rec").touch()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tidegate.pipelines.commands.endpoints.lifecycle.update", killed)
        delete(home, "wine")
    assert not folder.exists() and load(home.store, "wine").current == 1
    assert delete(home, "wine").data["deleted"] and load(home.store, "wine").current is None
