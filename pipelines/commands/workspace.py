"""ui, check, down, completion: the workspace of runs and endpoints."""

import contextlib
import shutil
import sys
import time
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from tidegate.infra.errors import InfraError, LockedError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.tracking import check_login, experiments_url
from tidegate.infra.system import processes
from tidegate.infra.system.locks import is_held, lock
from tidegate.pipelines.commands.checking.fork_servers import check_fork_servers
from tidegate.pipelines.commands.schedules.keeper import check_scheduler
from tidegate.pipelines.commands.schedules.scheduler import NAME as SCHEDULER
from tidegate.pipelines.commands.submit import cancel
from tidegate.pipelines.driver.mlflow_deletion import has_pending
from tidegate.pipelines.driver.mlflow_sync import sync_command, unsynced
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.result import Result, checked, item
from tidegate.pipelines.state.home import RUNNING, Home, RunFolder
from tidegate.pipelines.state.mirror import refresh

SYNC_WAIT_S = 60.0
MIN_DISK = 2 * 1024**3
MIN_MEMORY = 2 * 1024**3
LIBRARIES = ("tensorflow-cpu|tensorflow", "keras", "mlflow", "bentoml", "onnxruntime", "tf2onnx", "optuna")


def ui(home: Home, *, quiet: bool) -> Result:
    """The MLflow UI's address, started when needed; runs that MLflow missed are synced in the background.

    Args:
        home: the home.
        quiet: only return the address; otherwise a browser is opened when stdout is a terminal.
    """
    url = mlflow_server.ensure(home.path)
    for run in unsynced(home):
        argv = sync_command(home, run)
        log = home.run_folder(run).log("sync")
        processes.start(home.processes, f"sync-{run}", argv, log=log, cwd=home.path)
    if has_pending(home):
        log = home.path / "mlflow" / "pending.log"
        processes.start(home.processes, "mlflow-pending", sync_command(home, None), log=log, cwd=home.path)
    if not quiet and sys.stdout.isatty():
        webbrowser.open(experiments_url(url))
    return Result({"url": url}, url)


def check(home: Home) -> Result:
    """Whether the target is ready, item by item; exit code 1 when something is missing."""
    if home.target is not None:
        from tidegate.pipelines.commands.checking.target import check_target

        return checked([_check_python(), *check_target(home)])
    items = [_check_python(), *(_check_library(names) for names in LIBRARIES)]
    items += [_check_store(home), _check_disk(home), _check_memory(), _check_gpu(), _check_mlflow(home)]
    items += [*check_fork_servers(home), *check_scheduler(home)]
    return checked(items)


def _check_python() -> dict[str, Any]:
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return item("python", ok, sys.version.split()[0], "use Python 3.11, 3.12 or 3.13")


def _check_library(names: str) -> dict[str, Any]:
    """Check for one of several distributions that provide the same library."""
    for name in names.split("|"):
        try:
            return item(name, True, version(name), "")
        except PackageNotFoundError:
            continue
    name = names.split("|")[0]
    return item(name, False, "not installed", "pip install 'tidegate[train,serve]', or make setup")


def _check_store(home: Home) -> dict[str, Any]:
    probe = home.path / "probe.txt"
    try:
        probe.write_text(str(time.time()))
        ref = home.store.put(probe)
        home.store.fetch(ref)
        home.store.remove(ref.digest)
    except (InfraError, OSError) as error:
        return item("store", False, str(error), "choose another folder with --home")
    finally:
        probe.unlink(missing_ok=True)
    return item("store", True, f"{home.path / 'store'} can be written and read", "")


def _check_disk(home: Home) -> dict[str, Any]:
    free = shutil.disk_usage(home.path).free
    return item("disk", free >= MIN_DISK, f"{free / 1e9:.1f} GB free", "free 2 GB, or choose another --home")


def _check_memory() -> dict[str, Any]:
    free = psutil.virtual_memory().available
    return item(
        "memory", free >= MIN_MEMORY, f"{free / 1e9:.1f} GB available", "close something: 2 GB are needed"
    )


def _check_gpu() -> dict[str, Any]:
    """A missing GPU is not an error: only an experiment that asks for one needs it."""
    driver = Path("/proc/driver/nvidia/version")
    detail = driver.read_text().splitlines()[0] if driver.exists() else "none; resources.gpus must be 0 here"
    return item("gpu", True, detail, "")


def _check_mlflow(home: Home) -> dict[str, Any]:
    fix = "see the message; `tidegate down`, then `tidegate ui` starts it again"
    try:
        url = mlflow_server.ensure(home.path)
        if mlflow_server.runs_locally(home.path):
            mlflow_server.wait_ready(url, home=home.path)
        else:
            fix = "see the message; $MLFLOW_TRACKING_URI names this server, and who runs it can say more"
            check_login(url)
    except InfraError as error:
        return item("mlflow", False, str(error), fix)
    return item("mlflow", True, url, "")


def down(home: Home) -> Result:
    """Stop everything that runs here: runs (cancelled), endpoints, the MLflow server. No result is lost."""
    refresh(home)
    scheduled = processes.stop(home.processes, SCHEDULER)  # first: it would start what is stopped after it
    underway = [folder for folder in home.run_folders() if folder.read().status in RUNNING]
    removed = [f"process {SCHEDULER}"] if scheduled else []
    removed += [f"run {folder.run}" for folder in underway if _cancelled(home, folder)]
    for folder in home.run_folders():
        if is_held(folder.lock):  # it has ended, and its driver still tells MLflow
            with contextlib.suppress(LockedError), lock(folder.lock, timeout=SYNC_WAIT_S):
                pass
    names = [record.name for record in processes.records(home.processes)]
    with ThreadPoolExecutor(max_workers=16) as pool:  # each drains for a second or two
        stopped = pool.map(partial(processes.stop, home.processes), names)
        removed += [f"process {name}" for name, ran in zip(names, stopped, strict=True) if ran]
    removed += hosting(home).down()
    return Result(
        {"removed": removed}, "\n".join(f"stopped {name}" for name in removed) or "nothing runs here"
    )


def _cancelled(home: Home, folder: RunFolder) -> bool:
    """Cancel a run; False when it ended by itself just before."""
    try:
        cancel(home, folder.run)
    except UsageError:
        if folder.read().status in RUNNING:
            raise
        return False
    return True


def completion(shell: str) -> Result:
    """The completion script of a shell, to be sourced from its start-up file."""
    import shtab

    from tidegate.pipelines.parser import make_parser

    script = shtab.complete(make_parser(), shell)
    return Result({"shell": shell, "script": script}, script)
