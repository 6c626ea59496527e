"""The local MLflow server: started once, an address that stays, a database that may be lost."""

import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.infra.conftest import Server, Told
from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import database as mlflow_database
from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.infra.system import processes
from tidegate.infra.system.priority import NICE


def test_one_server_whoever_asks(mlflow: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(mlflow_server.ensure, [mlflow.home] * 8)) == {mlflow.url}
    assert mlflow_server.url(mlflow.home) == mlflow.url
    record = processes.find(mlflow.home / "processes", "mlflow")
    assert record is not None
    assert psutil.Process(record.pid).children(recursive=True) == []
    assert psutil.Process(record.pid).nice() >= NICE > 0
    assert not (mlflow.home / "mlflow" / "mlruns").exists()


def test_its_files_are_in_the_home(mlflow: Server, told: Callable[[], Told]) -> None:
    run = told()
    run.write()
    assert run.follow(mlflow.url).synced
    assert {path.name for path in (mlflow.home / "mlflow").iterdir()} >= {
        "mlflow.db",
        "artifacts",
        "server.log",
    }
    assert list((mlflow.home / "mlflow" / "artifacts").rglob("figures/curves.png"))
    with closing(sqlite3.connect(mlflow_database.database(mlflow.home))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_ui_is_served_to_this_machine_only(mlflow: Server) -> None:
    with urllib.request.urlopen(mlflow.url) as answer:
        assert b"<title>MLflow</title>" in answer.read()
    request = urllib.request.Request(mlflow.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    refused.value.close()
    assert refused.value.code == 403
    origin = {"Origin": "http://evil.example", "Content-Type": "application/json"}
    post = f"{mlflow.url}/api/2.0/mlflow/experiments/create"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(post, b'{"name": "x"}', origin))
    refused.value.close()
    assert refused.value.code == 403


def test_the_address_outlives_a_lost_database(
    mlflow: Server, tracker: Tracker, told: Callable[[], Told]
) -> None:
    run = told()
    run.write()
    assert run.follow(mlflow.url).synced
    mlflow_database.database(mlflow.home).unlink()
    assert mlflow_server.ensure(mlflow.home) == mlflow.url
    mlflow_server.wait_ready(mlflow.url, 90, mlflow.home)
    assert tracker.client.get_experiment_by_name("digits") is None
    replay.forget(run.folder)
    assert run.follow(mlflow.url).synced
    run.check(tracker)


def test_another_server_is_used_when_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:80/")
    assert mlflow_server.ensure(tmp_path) == "http://mlflow.example:80"
    assert mlflow_server.url(tmp_path) == "http://mlflow.example:80"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    path = mlflow_database.database(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match=r"mlflow\.db is damaged: .*; move .*mlflow\.db away"):
        mlflow_server.ensure(tmp_path)
    assert processes.find(tmp_path / "processes", "mlflow") is None


def test_a_locked_database_is_said(tmp_path: Path) -> None:
    path = mlflow_database.database(tmp_path)
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match=r"cannot be written: database is locked; another program"):
            mlflow_server.ensure(tmp_path)
        argv = [
            sys.executable,
            "-P",
            "-m",
            "tidegate.infra.mlflow.server",
            "--home",
            str(tmp_path),
            "--port",
            "0",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"MLflow's database {path} cannot be written: database is locked;")


def test_a_server_that_dies_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "mlflow" / "server.log"
    code = "print('the disk is full')"
    processes.start(tmp_path / "processes", "mlflow", [sys.executable, "-c", code], log=log)
    with pytest.raises(TrackingError, match=r"has ended; .*server\.log ends: the disk is full; start it"):
        mlflow_server.wait_ready("http://127.0.0.1:9", 20, tmp_path)


def test_a_server_that_is_late_is_said() -> None:
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9 did not answer in 0\.2 s"):
        mlflow_server.wait_ready("http://127.0.0.1:9", 0.2)


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "mlflow.json").write_text("{")
    with pytest.raises(TrackingError, match=r"cannot be started: .*mlflow\.json is not a process record"):
        mlflow_server.ensure(tmp_path)


def test_a_home_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(TrackingError, match="there is a file; expected a folder; move the file"):
        mlflow_server.ensure(tmp_path / "home")
