"""A home's MLflow server, forked where its imports are done: 4.4 of the 5 s of CPU time that its start takes."""

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.mlflow_database import give_database
from tidegate.infra.mlflow import server
from tidegate.infra.system.files import write_atomic
from tidegate.infra.system.processes import Record
from tidegate.pipelines.executors.forking.imports import Kind
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.executors.forking.servers import ForkServers

# Uvicorn first: MLflow's application asks while it is imported whether a server runs it.
MLFLOW = Kind(
    name="mlflow",
    module=server.__name__,
    function="main",
    before=("uvicorn", "pyarrow", server.__name__, "mlflow.server.handlers", "mlflow.server.fastapi_app"),
)
# What MLflow's server sets for itself, some of it before MLflow is imported.
VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",  # those of its imports, which the log of a home's own server has
}
_started: list[ForkedProcess] = []  # each ends with its home; its connection is open until the session ends


def give_mlflow(home: Path) -> None:
    """Have the MLflow server of a new home run, on a database that has its tables, before its first submit does."""
    if give_database(home):
        server.ensure(home, _fork)


def _fork(
    folder: Path,
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    extra: Mapping[str, Any],
    pass_fds: Sequence[int],
) -> None:
    """As `processes.start`, but forked; the listening socket comes as standard input."""
    argv = [*argv[: argv.index("--fd") + 1], "0"]
    mark = f"{name}-{secrets.token_hex(8)}"
    with log.open("ab") as file:
        files = [os.dup(one) for one in (*pass_fds, file.fileno(), file.fileno())]
    nothing = os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb")
    process = ForkServers(own=False).start_on(files, nothing, MLFLOW, argv, {**os.environ, **VARIABLES}, cwd)
    _started.append(process)
    while process.pid is None:  # the first one waits for the imports
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    created = psutil.Process(process.pid).create_time()
    record = Record(
        name=name,
        mark=mark,
        pid=process.pid,
        create_time=created,
        argv=tuple(argv),
        log=log,
        cwd=cwd,
        extra=dict(extra),
    )
    write_atomic(folder / f"{name}.json", record.model_dump_json(indent=1).encode())
