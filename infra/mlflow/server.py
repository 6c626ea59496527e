"""The local MLflow server: one detached process, its database and artifacts in the home.

`python -m tidegate.infra.mlflow.server --home DIR --port P` is the process: MLflow's own application under one
uvicorn. It is ready in a third of the time of `mlflow server`, which imports everything twice and starts job
queues that we do not use. It is set up for one user on the loopback interface: Host and cross-origin checks stay
MLflow's defaults (local names only), there is no job execution, no basic auth and hence no session secret.
"""

import argparse
import json
import os
import socket
import sqlite3
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from tidegate.infra.errors import LockedError, ProcessError, TrackingError
from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow.address import outside
from tidegate.infra.mlflow.database import check_database, database, migrate, unfinished
from tidegate.infra.system import processes
from tidegate.infra.system.files import translate_os_errors, write_atomic
from tidegate.infra.system.locks import lock
from tidegate.infra.system.priority import give_way

NAME = "mlflow"
HOST = "127.0.0.1"
PORT = 5000
PORTS = 1000
READY_S = 60.0
START_AGAIN = "start it again: tidegate ui"


def ensure(home: Path, start: Callable[..., object] = processes.start) -> str:
    """Return MLflow's URL, and start the local server if none runs; does not wait until that is ready.

    The address is already bound: a request sent at once is answered when the server is ready.
    If $MLFLOW_TRACKING_URI is set, it is returned instead, and nothing is started.

    Args:
        home: the home's folder.
        start: starts the server's process and keeps its record, called as `processes.start`.

    Raises:
        TrackingError: the database is locked or damaged, no port is free, or the home is not writable.
    """
    named = outside()
    if named:
        return named
    try:
        return _ensure_local(home, home.absolute() / "mlflow", start)
    except ProcessError as error:
        raise TrackingError(f"the local MLflow server cannot be started: {error}") from error


def _ensure_local(home: Path, folder: Path, start: Callable[..., object]) -> str:
    with lock(folder / "server.lock", error=TrackingError):
        running = processes.find(home / "processes", NAME)
        if running and (database(home).exists() or unfinished(home).exists()):
            return str(running.extra["url"])
        if running:  # its database was deleted: this server would answer every request with 500
            processes.stop(home / "processes", NAME, grace=2.0)
        check_database(home)
        if not database(home).exists():  # a new database has no runs, so all runs are synced again
            for run in (home / "spool").glob("*"):
                replay.forget(run)
            with translate_os_errors(TrackingError, unfinished(home), "Writing"):
                unfinished(home).touch()  # who asks meanwhile sees that a server makes it
        return _start(home.absolute(), folder, start)


def url(home: Path) -> str | None:
    """Return MLflow's URL if it is set or the local server runs, else None; starts nothing."""
    named = outside()
    running = None if named else processes.find(home / "processes", NAME)
    return named or (str(running.extra["url"]) if running else None)


def runs_locally(home: Path) -> bool:
    """Return whether the home's own server runs and $MLFLOW_TRACKING_URI names no other."""
    return not outside() and processes.find(home / "processes", NAME) is not None


def database_lost(home: Path) -> bool:
    """Return whether the local database is gone, and with it all synced runs."""
    return not outside() and not database(home).exists()


def stop(home: Path) -> bool:
    """Stop the local server; return False if none ran."""
    return processes.stop(home / "processes", NAME)


def _start(home: Path, folder: Path, start: Callable[..., object]) -> str:
    with _listen(folder / "port.json") as listener:
        port = listener.getsockname()[1]
        address = f"http://{HOST}:{port}"
        argv = [
            sys.executable,
            "-P",
            "-m",
            "tidegate.infra.mlflow.server",
            "--home",
            str(home),
            "--port",
            str(port),
        ]
        start(
            home / "processes",
            NAME,
            [*argv, "--fd", str(listener.fileno())],
            log=folder / "server.log",
            cwd=folder,
            extra={"url": address},
            pass_fds=(listener.fileno(),),
        )
    with translate_os_errors(TrackingError, folder / "port.json", "Writing"):
        write_atomic(folder / "port.json", json.dumps(port).encode())
    return address


def _listen(remembered: Path) -> socket.socket:
    """Bind the port of the last start, so that URLs stay valid, else 5000 or the next free one."""
    ports = list(range(PORT, PORT + PORTS))
    with suppress(OSError, ValueError):
        ports.insert(0, int(json.loads(remembered.read_bytes())))
    for port in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(256)
        except OSError:
            listener.close()
            continue
        return listener
    raise TrackingError(f"no port from {PORT} to {PORT + PORTS - 1} is free on {HOST} for MLflow; free one")


def wait_ready(base: str, timeout: float = READY_S, home: Path | None = None) -> None:
    """Wait until the server at `base` answers; with `home`, a local server that died is noticed at once.

    Raises:
        TrackingError: it does not answer in `timeout` seconds, or it died; with the last line of its log.
    """
    deadline = time.monotonic() + timeout
    while not _healthy(base, max(0.1, deadline - time.monotonic())):
        if home and (ended := death(home, base)):
            raise TrackingError(ended)
        if time.monotonic() >= deadline:
            raise TrackingError(
                f"MLflow at {base} did not answer in {timeout:g} s{_last_log_line(home)}; {START_AGAIN}"
            )
        time.sleep(0.1)


def death(home: Path, base: str) -> str:
    """Return how the local server at `base` ended, with its log's last line; "" if it runs or none was started."""
    record = None if outside() else processes.recorded(home / "processes", NAME)
    if record is None or processes.alive(record):
        return ""
    return f"MLflow at {base} has ended{_last_log_line(home)}; {START_AGAIN}"


def _healthy(base: str, timeout: float) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_log_line(home: Path | None) -> str:
    with suppress(OSError, IndexError):
        if home:
            log = home / "mlflow" / "server.log"
            return f"; {log} ends: {log.read_text(errors='replace').strip().splitlines()[-1]}"
    return ""


def environment(database_uri: str, artifacts: str) -> Mapping[str, str]:
    """Return the environment variables of MLflow's application, as `mlflow server` would set them."""
    from mlflow import environment_variables as known
    from mlflow.server import constants

    return {
        constants.BACKEND_STORE_URI_ENV_VAR: database_uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: database_uri,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        known._MLFLOW_SERVER_BOOT_ID.name: uuid.uuid4().hex,
        known._MLFLOW_IN_JOB_EXECUTOR.name: "false",
        known._MLFLOW_SGI_NAME.name: "uvicorn",
    }


def serve(home: Path, listener: socket.socket) -> None:
    """Run the server in this process until SIGTERM."""
    check_database(home)
    uri = f"sqlite:///{database(home)}"
    run_application(uri, str(home / "mlflow" / "artifacts"), listener, lambda: _prepare(home))


def _prepare(home: Path) -> None:
    migrate(home)
    with closing(sqlite3.connect(database(home))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # the UI's reads do not wait for the sync's writes


def run_application(
    database_uri: str, artifacts: str, listener: socket.socket, prepare: Callable[[], None] = lambda: None
) -> None:
    """Run MLflow's application on a database and an artifact root (a folder or s3://...) until SIGTERM.

    `prepare` gets the database ready, at the first moment at which MLflow may be imported.
    """
    from tidegate.infra.mlflow.tracking import gc_paused

    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with gc_paused():
        import uvicorn

        os.environ |= environment(database_uri, artifacts)
        prepare()
        from mlflow.server.handlers import initialize_backend_stores

        initialize_backend_stores(database_uri, database_uri, "mlflow-artifacts:/")
        from mlflow.server.fastapi_app import app
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[listener])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM; a problem with the database ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.infra.mlflow.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--fd", type=int, help="a socket that listens already; then --port only says which")
    given = parser.parse_args(argv)
    give_way()
    (given.home / "mlflow").mkdir(parents=True, exist_ok=True)
    listener = (
        socket.create_server((HOST, given.port)) if given.fd is None else socket.socket(fileno=given.fd)
    )
    try:
        serve(given.home.absolute(), listener)
    except (TrackingError, LockedError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
