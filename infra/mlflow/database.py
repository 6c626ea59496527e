"""The local MLflow server's database: one SQLite file in the home, made and migrated by MLflow's own migrations.

MLflow commits its migrations one after the other. One that is cut short (a kill, a full disk) leaves tables of the next
revision, and no later start gets past "table already exists". So they run on a file beside the database, which takes
its place at once when it is whole.
"""

import shutil
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from tidegate.infra.errors import TrackingError
from tidegate.infra.system.files import translate_os_errors


def database(home: Path) -> Path:
    """Return the file of MLflow's database."""
    return home / "mlflow" / "mlflow.db"


def unfinished(home: Path) -> Path:
    """Return the file which a starting server makes or migrates; it is there until the database takes its place."""
    return home / "mlflow" / "mlflow.db.new"


def check_database(home: Path) -> None:
    """Raise TrackingError if MLflow's database exists and cannot be used."""
    path = database(home)
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise TrackingError(
            f"MLflow's database {path} cannot be written: {error}; another program may hold it "
            "(a backup, a database browser): close that, or make the file writable"
        ) from error
    except sqlite3.DatabaseError as error:
        raise TrackingError(f"MLflow's database {path} is damaged: {error}; {_move_away(path)}") from error


def migrate(home: Path) -> None:
    """Make the database, or bring it to the revision of the installed MLflow; one of that revision is left alone.

    The one before a migration stays beside it as `mlflow-REVISION.db`, for an MLflow of before. The caller is the only
    server of this home.

    Raises:
        TrackingError: it cannot be made or migrated; the database is as it was.
    """
    from sqlalchemy.exc import SQLAlchemyError

    path, new = database(home), unfinished(home)
    try:
        before = _revision(path)
        with translate_os_errors(TrackingError, new, "Writing"):
            for left in (new, new.with_name(f"{new.name}-journal")):
                left.unlink(missing_ok=True)
            if path.exists() and before == _newest_revision():
                return
            if path.exists():
                _copy(path, new)
            _run_migrations(new)
            if path.exists():
                # Kept as a copy: the database's own name must never be missing.
                shutil.copyfile(path, path.with_name(f"mlflow-{before or 'before'}.db"))
            # Left by a database that was deleted, or empty: SQLite would read it into the new one.
            for log in (f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(log).unlink(missing_ok=True)
            new.replace(path)
    except (SQLAlchemyError, sqlite3.Error) as error:
        reason = str(getattr(error, "orig", None) or error)
        what = "migrated to the installed MLflow" if path.exists() else "made"
        fix = _move_away(path) if "exists" in reason else "free some space if the disk is full"
        raise TrackingError(f"MLflow's database {path} cannot be {what}: {reason}; {fix}") from error


def _move_away(path: Path) -> str:
    return f"move {path} away to start with an empty one (Tidegate keeps the runs and can sync them again)"


def _revision(path: Path) -> str | None:
    """The revision of a database; None for none and for one that MLflow has not begun."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:  # no such table
            return None
    return str(found[0]) if found else None


def _newest_revision() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(files("mlflow.store.db_migrations"))).get_current_head()


def _copy(path: Path, new: Path) -> None:
    """A copy with what is still in the write-ahead log, which is then empty."""
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(new)) as copy:
        connection.backup(copy)
        copy.execute(
            "PRAGMA journal_mode=DELETE"
        )  # a log of its own would not go with it to the database's name
        held = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if held:
        raise TrackingError(
            f"MLflow's database {path} must be migrated to the installed MLflow, and another program holds it "
            "(a backup, a database browser); close that"
        )


def _run_migrations(path: Path) -> None:
    """As `mlflow db upgrade` does."""
    from mlflow.db import upgrade

    upgrade.main([f"sqlite:///{path}"], standalone_mode=False)
