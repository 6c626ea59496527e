"""Detached processes: one a name, ended with all they started, never a stranger."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tidegate.infra.errors import ProcessError
from tidegate.infra.system import processes
from tidegate.infra.system.processes import Record

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
# Starts a child, tells its id, and both ignore SIGTERM.
STUBBORN = [
    sys.executable,
    "-c",
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); pid = os.fork()\n"
    "if pid: print(pid, flush=True)\n"
    "time.sleep(60)",
]
START = """
import os, sys
from pathlib import Path
from tidegate.infra.system import processes
record = processes.start(Path(sys.argv[1]), "one", ["sleep", "60"], log=Path(sys.argv[1]) / "one.log")
print(record.pid)
"""


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_started_found_stopped(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "one.log"
    record = processes.start(tmp_path, "one", SLEEP, log=log, cwd=tmp_path, env={"A": "b"}, extra={"port": 5})
    assert record.pid
    assert processes.alive(record)
    assert processes.find(tmp_path, "one") == record
    assert processes.start(tmp_path, "one", SLEEP, log=log) == record
    assert processes.records(tmp_path) == [record]
    assert record.extra == {"port": 5}
    process = psutil.Process(record.pid)
    assert process.cwd() == str(tmp_path)
    assert process.environ()["A"] == "b"
    assert os.getsid(record.pid) == record.pid
    wait_for(lambda: log.exists() and log.read_text() == "up\n")
    assert processes.stop(tmp_path, "one")
    assert not processes.alive(record)
    assert processes.records(tmp_path) == []
    assert not processes.stop(tmp_path, "one")


def test_it_outlives_its_starter_and_two_starters_start_one(tmp_path: Path) -> None:
    argv = [sys.executable, "-W", "error", "-c", START, str(tmp_path)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    starters = [subprocess.Popen(argv, **pipes) for _ in range(3)]
    said = [starter.communicate(timeout=30) for starter in starters]
    pids = {pid.strip() for pid, _ in said}
    assert len(pids) == 1
    assert {trouble for _, trouble in said} == {""}
    try:
        found = processes.find(tmp_path, "one")
        assert found is not None
        assert str(found.pid) in pids
    finally:
        assert processes.stop(tmp_path, "one")


def test_what_does_not_listen_is_killed_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    record = processes.start(tmp_path, "one", STUBBORN, log=log)
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    child = psutil.Process(int(log.read_text()))
    assert processes.stop(tmp_path, "one", grace=0.1)
    assert not processes.alive(record)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("again", ["stop", "start"])
def test_children_of_a_killed_process_are_not_forgotten(tmp_path: Path, again: str) -> None:
    log = tmp_path / "log"
    record = processes.start(tmp_path, "one", STUBBORN, log=log)
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    child = psutil.Process(int(log.read_text()))
    assert record.pid
    os.kill(record.pid, signal.SIGKILL)
    wait_for(lambda: not processes.alive(record))
    assert processes.find(tmp_path, "one") is None
    if again == "start":
        assert processes.start(tmp_path, "one", SLEEP, log=log).pid != record.pid
    assert processes.stop(tmp_path, "one", grace=0.1)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        old = Record(
            name="one",
            mark="one-0",
            pid=stranger.pid,
            create_time=psutil.Process(stranger.pid).create_time() - 100,
            argv=("sleep",),
            log=tmp_path / "log",
            cwd=tmp_path,
        )
        (tmp_path / "one.json").write_text(old.model_dump_json())
        assert processes.find(tmp_path, "one") is None
        assert not processes.stop(tmp_path, "one")
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_clock_that_is_set_does_not_make_it_dead(tmp_path: Path, step_s: int) -> None:
    """The clock's step moves the time of the boot, and with it when each process has started."""
    record = processes.start(tmp_path, "one", SLEEP, log=tmp_path / "log")
    assert record.create_time is not None
    moved = record.model_copy(update={"create_time": record.create_time + step_s})
    (tmp_path / "one.json").write_text(moved.model_dump_json())
    assert processes.find(tmp_path, "one") == moved
    assert processes.start(tmp_path, "one", SLEEP, log=tmp_path / "log").pid == record.pid  # not a second one
    assert processes.stop(tmp_path, "one")
    assert not processes.alive(record)


def test_a_starter_killed_before_it_noted_the_id(tmp_path: Path) -> None:
    record = processes.start(tmp_path, "one", SLEEP, log=tmp_path / "log")
    unnoted = record.model_copy(update={"pid": None, "create_time": None})
    (tmp_path / "one.json").write_text(unnoted.model_dump_json())
    found = processes.find(tmp_path, "one")
    assert found is not None
    assert found.pid == record.pid
    assert processes.start(tmp_path, "one", SLEEP, log=tmp_path / "log").pid == record.pid
    assert processes.stop(tmp_path, "one")
    assert not processes.alive(record)


def test_what_ends_by_itself_is_not_alive(tmp_path: Path) -> None:
    record = processes.start(tmp_path, "one", ["true"], log=tmp_path / "log")
    wait_for(lambda: not processes.alive(record))
    assert processes.records(tmp_path)[0].pid == record.pid


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"Starting one: /nowhere: no such file"):
        processes.start(tmp_path, "one", ["/nowhere"], log=tmp_path / "log")
    assert processes.find(tmp_path, "one") is None


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("{")
    with pytest.raises(ProcessError, match=r"one\.json is not a process record \(1 errors\); delete it$"):
        processes.find(tmp_path, "one")
