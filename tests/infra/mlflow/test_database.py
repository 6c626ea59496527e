"""MLflow's database is whole or not there, whenever its making or its migration is cut short."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mlflow_database import give_database
from tidegate.infra.mlflow.database import database, unfinished

# Imports once what takes seconds, and does each line of its standard input in a fork: the largest file's bytes, a home,
# and from which revision a database with an experiment is to be made there, if it is.
PROGRAM = """import json, os, resource, sys
from pathlib import Path
from alembic import command
from alembic.config import Config
from mlflow.db import upgrade
from mlflow.store.db_migrations import __path__ as scripts
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine
from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow.database import database, migrate

def begin(uri, at):
    engine = create_engine(uri)
    Base.metadata.create_all(engine)
    engine.dispose()
    config = Config()
    config.set_main_option("script_location", scripts[0])
    config.set_main_option("sqlalchemy.url", uri)
    command.upgrade(config, at)

for line in sys.stdin:
    room, at, home = line.split()
    if os.fork():
        os.wait()
        continue
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), -1))
    said = ""
    try:
        begin(f"sqlite:///{database(Path(home))}", at) if at != "-" else migrate(Path(home))
    except TrackingError as error:
        said = str(error)
    print(json.dumps(said), flush=True)
    os._exit(0)
"""
# To SQLite a file that may not grow is a full disk: here some of the tables fit, not all.
ROOM = 200 * 1024


class Migrations:
    """Makes and migrates databases in processes of their own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, home: Path, room: int = -1, begin: str = "-") -> str:
        """Migrate, or begin at a revision, with files of at most `room` bytes; return the error, "" for none."""
        assert self._process.stdin and self._process.stdout
        home.joinpath("mlflow").mkdir(parents=True, exist_ok=True)
        print(room, begin, home, file=self._process.stdin, flush=True)
        return str(json.loads(self._process.stdout.readline()))


@pytest.fixture(scope="module")
def migrate() -> Iterator[Migrations]:
    argv = [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield Migrations(process)


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(found)


def test_one_that_is_cut_short_is_made_anew(tmp_path: Path, migrate: Migrations, newest: str) -> None:
    assert "cannot be made: " in (said := migrate(tmp_path, ROOM))
    assert said.endswith("free some space if the disk is full")
    assert not database(tmp_path).exists()
    assert unfinished(tmp_path).stat().st_size > ROOM / 2  # it was in the middle
    assert migrate(tmp_path) == ""
    assert revision(database(tmp_path)) == newest
    assert not unfinished(tmp_path).exists()


def test_one_of_this_mlflow_is_left_alone(tmp_path: Path, migrate: Migrations) -> None:
    assert give_database(tmp_path)
    before = database(tmp_path).stat()
    assert migrate(tmp_path) == ""
    after = database(tmp_path).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.fixture
def older(tmp_path: Path, migrate: Migrations) -> Path:
    """A home whose database has an experiment and is fifteen revisions old."""
    assert migrate(tmp_path, begin="head-15") == ""
    with closing(sqlite3.connect(database(tmp_path))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('digits', 'active')")
        connection.commit()
    return tmp_path


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The revision that MLflow itself makes a new database at."""
    home = tmp_path_factory.mktemp("newest")
    assert give_database(home)
    return revision(database(home))


def names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM experiments")]


def test_an_older_one_is_migrated_and_kept(older: Path, migrate: Migrations, newest: str) -> None:
    path = database(older)
    before = revision(path)
    size = path.stat().st_size
    assert "cannot be migrated" in migrate(older, size + 8192)
    assert revision(path) == before
    assert "digits" in names(path)
    assert migrate(older) == ""
    assert revision(path) == newest
    kept = path.with_name(f"mlflow-{before}.db")
    assert revision(kept) == before
    assert "digits" in names(path)
    assert "digits" in names(kept)


def test_one_that_was_left_in_the_middle_is_told(tmp_path: Path, migrate: Migrations) -> None:
    migrate(tmp_path, ROOM)
    unfinished(tmp_path).rename(database(tmp_path))  # as an MLflow leaves it that migrates the file itself
    said = migrate(tmp_path)
    assert "already exists; move " in said
    assert database(tmp_path).exists()


def test_the_log_of_one_that_was_deleted_is_not_read(older: Path, migrate: Migrations, newest: str) -> None:
    path = database(older)
    with closing(sqlite3.connect(path)) as held:  # as long as somebody has it open, its log stays
        held.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('late', 'active')")
        held.commit()
        path.unlink()
        assert path.with_name("mlflow.db-wal").stat().st_size
        assert migrate(older) == ""
        assert revision(path) == newest
        assert not {"digits", "late"} & set(names(path))


def test_one_that_is_read_meanwhile_is_not_migrated(older: Path, migrate: Migrations) -> None:
    path = database(older)
    before = revision(path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('late', 'active')")
        reader.commit()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM experiments").fetchone()
            assert "another program holds it" in migrate(older)
    assert revision(path) == before
    assert {"digits", "late"} <= set(names(path))
