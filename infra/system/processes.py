"""Detached processes that outlive their command: servers, background syncs, detached submits.

Each has a record `<name>.json` in a folder. A process is the recorded one only if its creation time matches too,
so another process that got the same id later is never mistaken for it, and never killed.
"""

import atexit
import os
import secrets
import subprocess
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.errors import ProcessError
from tidegate.infra.system.files import translate_os_errors, write_atomic
from tidegate.infra.system.locks import lock

# This variable is in the environment of the process and of every process that it starts.
MARK = "TIDEGATE_PROCESS"
# Creation times are computed from the kernel's boot time, which may step by a second.
CLOCK_TOLERANCE_S = 2.0
DEAD = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}

# The children of this process are kept, so that their exit is noticed and they do not stay zombies.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


@atexit.register
def _forget_children() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # children that still run are meant to
        _children.clear()


class Record(BaseModel):
    """The record of a detached process; `extra` holds values of its owner, such as a port or a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    mark: str
    pid: int | None = None
    create_time: float | None = None
    argv: tuple[str, ...]
    log: Path
    cwd: Path
    extra: dict[str, Any] = {}


def start(
    folder: Path,
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    pass_fds: Sequence[int] = (),
) -> Record:
    """Start a process that outlives this one, or return the running one of that name.

    If two callers start it at once, only one process is started.

    Args:
        folder: where records are kept.
        name: unique in that folder.
        argv: the command, its program first.
        log: its stdout and stderr are appended to this file.
        cwd: its working folder; default: that of this process.
        env: variables added to those of this process.
        extra: values that the owner adds to the record.
        pass_fds: open files that it inherits, such as a socket that listens already.

    Raises:
        ProcessError: the program or a folder does not exist, or is not permitted.
    """
    with lock(folder / f"{name}.lock", error=ProcessError):
        last = recorded(folder, name)
        if last and alive(last):
            return _save(folder, last)  # saves the process id of one that was adopted
        if last:  # it died; the processes that it started must end before its record is replaced
            _end(_marked(last.mark), 0.0)
        record = Record(
            name=name,
            mark=f"{name}-{secrets.token_hex(8)}",
            argv=tuple(argv),
            log=log.absolute(),
            cwd=(cwd or Path.cwd()).absolute(),
            extra=dict(extra or {}),
        )
        # Saved before the start: if we are killed right after the start, the mark still finds the process.
        _save(folder, record)
        return _save(folder, _spawn(record, {**os.environ, **(env or {}), MARK: record.mark}, pass_fds))


def _spawn(record: Record, env: Mapping[str, str], pass_fds: Sequence[int]) -> Record:
    with translate_os_errors(ProcessError, record.log, "Writing"):
        record.log.parent.mkdir(parents=True, exist_ok=True)
        log = record.log.open("ab")
    with log, translate_os_errors(ProcessError, Path(record.argv[0]), f"Starting {record.name}:"):
        child = subprocess.Popen(
            record.argv,
            cwd=record.cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    _children[child.pid] = child
    with suppress(psutil.NoSuchProcess):
        created = psutil.Process(child.pid).create_time()
        return record.model_copy(update={"pid": child.pid, "create_time": created})
    return record.model_copy(update={"pid": child.pid, "create_time": time.time()})


def _save(folder: Path, record: Record) -> Record:
    path = folder / f"{record.name}.json"
    with translate_os_errors(ProcessError, path, "Writing"):
        write_atomic(path, record.model_dump_json(indent=1).encode())
    return record


def recorded(folder: Path, name: str) -> Record | None:
    """Return the last process recorded under that name, running or not."""
    path = folder / f"{name}.json"
    with translate_os_errors(ProcessError, path, "Reading"):
        try:
            record = Record.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ProcessError(
                f"{path} is not a process record ({error.error_count()} errors); delete it"
            ) from error
    return record if record.pid else _adopt(record)


def _adopt(record: Record) -> Record:
    """Complete a record whose writer was killed after it started the process and before it saved the id."""
    marked = _marked(record.mark)
    first = min(marked, key=lambda process: process.create_time(), default=None)
    if first is None:
        return record
    return record.model_copy(update={"pid": first.pid, "create_time": first.create_time()})


def find(folder: Path, name: str) -> Record | None:
    """Return the process of that name if it is running."""
    record = recorded(folder, name)
    return record if record and alive(record) else None


def records(folder: Path) -> list[Record]:
    """Return every record, of running and dead processes, sorted by name."""
    found = (recorded(folder, path.stem) for path in sorted(folder.glob("*.json")))
    return [record for record in found if record]


def alive(record: Record) -> bool:
    """Return whether this process is running; a zombie is not."""
    return _process(record) is not None


def _process(record: Record) -> psutil.Process | None:
    if record.pid is None or record.create_time is None:
        return None
    if record.pid in _children:
        _children[record.pid].poll()
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.create_time) < CLOCK_TOLERANCE_S
        if (same or _has_mark(process, record.mark)) and process.status() not in DEAD:
            return process
    return None


def _has_mark(process: psutil.Process, mark: str) -> bool:
    """Whether this process, or one that started it, was given this mark.

    The system counts the time of a start from that of the boot, which moves when the clock is set; a mark does not.
    """
    with suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == mark
    return False


def stop(folder: Path, name: str, grace: float = 10.0) -> bool:
    """Send SIGTERM, kill the process and everything it started after `grace` seconds, and delete its record.

    Returns:
        True when a process was running: this one, or one that it started and that outlived it.

    Raises:
        ProcessError: a process could not be killed.
    """
    with lock(folder / f"{name}.lock", error=ProcessError):
        record = recorded(folder, name)
        if record is None:
            return False
        leader = _process(record)
        if leader:
            _end([leader], grace)
        left = _marked(record.mark)
        _end(left, grace if not leader else 0.0)
        (folder / f"{name}.json").unlink(missing_ok=True)
        return bool(leader or left)


def _marked(mark: str) -> list[psutil.Process]:
    """Return the running processes that inherited this mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if _has_mark(process, mark) and process.status() not in DEAD:
                found.append(process)
    return found


def _end(processes: Iterable[psutil.Process], grace: float) -> None:
    """SIGTERM, wait, SIGKILL; psutil refuses to signal a reused process id."""
    living = list(processes)
    for process in living:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, living = psutil.wait_procs(living, timeout=grace)
    for process in living:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, living = psutil.wait_procs(living, timeout=5.0)
    if living:
        pids = ", ".join(str(process.pid) for process in living)
        raise ProcessError(
            f"process {pids} still runs 5 s after SIGKILL: it hangs in the kernel; wait, or reboot"
        )
