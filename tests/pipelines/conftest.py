"""What {names} in the table of bad input stand for: a port that is taken, a full disk, a damaged bundle.

And a cluster of which only the store and the objects of Jobs are real.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.pipelines.far_cluster import Far
from tidegate.infra.mlflow import database as mlflow_database
from tidegate.pipelines.scheduling import homes
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home


@pytest.fixture
def the_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def the_free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def the_run(digits: dict[str, str]) -> str:
    return digits["run"]


@pytest.fixture
def the_endpoint(digits: dict[str, str]) -> str:
    return digits["run"].rpartition("-")[0]


@pytest.fixture
def the_bundle(the_run: str, shared: Cli, tmp_path: Path) -> Path:
    """A copy of the live bundle, one byte of its model changed."""
    home = Home(shared.home)
    packaged = outputs_of(home, home.run_folder(the_run).read(), "package")
    shutil.copytree(fetch_bundle(home, packaged[0]["bundle"]), tmp_path / "bundle")
    path = next((tmp_path / "bundle").glob("model.*"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    return tmp_path / "bundle"


@pytest.fixture
def the_here(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def the_disk(tmp_path: Path) -> Iterator[Path]:
    """A home on a disk of its own, nearly full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tidegate-test", str(disk)], check=True)
    try:
        yield disk / "home"
        Cli(disk / "home")("down")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def the_damaged(tmp_path: Path) -> Path:
    """A home whose MLflow database is none."""
    path = mlflow_database.database(tmp_path / "home")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    return tmp_path / "home"


@pytest.fixture
def the_locked(tmp_path: Path) -> Iterator[Path]:
    """A home whose MLflow database somebody else holds."""
    path = mlflow_database.database(tmp_path / "home")
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("BEGIN EXCLUSIVE")
        yield tmp_path / "home"


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    """A cluster with a machine that submits to it, and its scheduler's pods."""
    far = Far(tmp_path)
    monkeypatch.setattr("tidegate.pipelines.state.home.open_store", lambda *_, **__: far.store)
    monkeypatch.setattr("tidegate.infra.cluster.api.Cluster", lambda *_: far.jobs)
    monkeypatch.setenv("TIDEGATE_STORE", "s3://bucket/far")
    yield far
    homes._home.cache_clear()
