"""MLflow's empty database, made once by MLflow itself: its 60 migrations take 1.4 s of CPU time in each new home."""

import contextlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tidegate.infra.mlflow.database import database
from tidegate.infra.system.locks import lock

# Beside the environment whose MLflow made it, so that both go together.
EMPTY = Path(sys.prefix) / f".mlflow-{version('mlflow-skinny')}.db"
# As `infra.mlflow.server` has it made.
MAKE = """import sys
from mlflow.server.handlers import initialize_backend_stores
uri = f"sqlite:///{sys.argv[1]}"
initialize_backend_stores(uri, uri, "mlflow-artifacts:/")"""


def give_database(home: Path) -> bool:
    """Put an empty database into a home that has none of MLflow yet, as its first server would; whether it was done.

    Where it can't be written nothing is done: the command that is tested says so.
    """
    path = database(home)
    if path.parent.exists():
        return False
    with lock(EMPTY.with_suffix(".lock")):
        if not EMPTY.exists():
            _make()
    try:
        path.parent.mkdir(parents=True)
        shutil.copyfile(EMPTY, path)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    return True


def _make() -> None:
    new = EMPTY.with_suffix(f".{os.getpid()}")
    new.unlink(missing_ok=True)
    argv = [sys.executable, "-P", "-W", "ignore", "-c", MAKE, str(new)]
    subprocess.run(argv, check=True, capture_output=True)
    new.replace(EMPTY)
