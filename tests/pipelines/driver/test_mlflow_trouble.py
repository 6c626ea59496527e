"""MLflow's database damaged, locked or deleted: a run trains and is released all the same, and is told later."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import urllib.request
from pathlib import Path

from tests.conftest import Cli
from tidegate.infra.mlflow import database as mlflow_database

ROWS = "a,b,y\n" + "".join(f"{i / 40},{(i * 7 % 40) / 40},{'yes' if i % 3 else 'no'}\n" for i in range(40))
EXPERIMENT = """
name: trouble
data: {source: ./rows.csv, target: y}
model: {family: linear}
training: {epochs: 1}
gate: none
"""
WAIT_S = 120.0


def written(folder: Path) -> str:
    (folder / "rows.csv").write_text(ROWS)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    return str(folder / "experiment.yaml")


def released_but_not_synced(cli: Cli, file: str) -> str:
    """Submit; return the run."""
    ran = cli("submit", file, "--json")
    assert ran.code == 0, ran.stderr
    assert "trained, not synced" in ran.stderr
    answer = ran.json
    assert (answer["status"], answer["release"], answer["synced"]) == ("done", 1, False)
    assert urllib.request.urlopen(f"{answer['endpoint']}/readyz", timeout=10).status == 200
    return str(answer["run"])


def told(cli: Cli, run: str) -> bool:
    """Whether MLflow's database has the finished run."""
    with contextlib.closing(sqlite3.connect(mlflow_database.database(cli.home))) as connection:
        found = connection.execute(
            "SELECT r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'tidegate.run' AND t.value = ? ORDER BY r.start_time",
            [run],
        ).fetchall()
    return found == [("FINISHED",)] * 2


def test_a_damaged_and_a_deleted_database(cli: Cli, tmp_path: Path) -> None:
    file, path = written(tmp_path), mlflow_database.database(cli.home)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    run = released_but_not_synced(cli, file)
    failed = {item["name"]: item for item in cli("check", "--json").json if not item["ok"]}
    assert "damaged" in failed["mlflow"]["detail"]

    path.unlink()
    assert cli.ok("resume", run)["synced"]
    assert told(cli, run)

    for leftover in path.parent.glob("mlflow.db*"):  # while the server runs
        leftover.unlink()
    answer = cli.ok("submit", file)
    assert (answer["run"], answer["release"], answer["synced"]) == (run, 1, True)
    assert answer["mlflow_url"]
    assert told(cli, run)


def test_a_locked_database(cli: Cli, tmp_path: Path) -> None:
    file, path = written(tmp_path), mlflow_database.database(cli.home)
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as holder:
        holder.execute("CREATE TABLE held (x)")
        holder.execute("BEGIN EXCLUSIVE")
        run = released_but_not_synced(cli, file)
        holder.rollback()
        holder.execute("DROP TABLE held")
        holder.commit()
    cli.ok("ui")
    deadline = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(sqlite3.OperationalError):  # its tables are not made yet
            if told(cli, run):
                return
        assert time.monotonic() < deadline, (cli.home / "runs" / run / "logs" / "sync.log").read_text()
        time.sleep(0.2)
