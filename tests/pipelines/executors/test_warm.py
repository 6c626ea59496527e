"""Fork servers that stay for the next submit: found again, never old, and gone when they should be."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import tidegate
from tidegate.infra.system import memory, processes
from tidegate.pipelines.commands.checking.fork_servers import check_fork_servers
from tidegate.pipelines.commands.workspace import down
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.forking import staying
from tidegate.pipelines.executors.forking.servers import VARIABLE
from tidegate.pipelines.executors.forking.staying import Stay
from tidegate.pipelines.executors.forking.warm import VARIABLE as WARM
from tidegate.pipelines.executors.forking.warm import ask, living, warm_seconds
from tidegate.pipelines.executors.local import LocalExecutor
from tidegate.pipelines.state.home import Home

from .conftest import again, calls, ended, start

Prepared = tuple[Home, StepCall]
# What a driver does, in a process of its own: one step, and the process id of what it was forked from.
DRIVER = """
import sys, time, psutil
from pathlib import Path
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.local import LocalExecutor
call = StepCall.model_validate_json(Path(sys.argv[1]).read_bytes())
handle = LocalExecutor(Path(sys.argv[2])).start(call)
while handle.process.pid is None:
    handle.poll()
print(psutil.Process(handle.process.pid).ppid())
while handle.poll() is None:
    time.sleep(0.01)
sys.exit(handle.poll())
"""
NEW_CODE = """

def changed(inputs, context, run=run):
    print("new code")
    return run(inputs, context)

run = changed
"""


@pytest.fixture(scope="module")
def home_and_step(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A home, and the call of a step of the light kind."""
    home = Home(tmp_path_factory.mktemp("warm") / "home")
    return home, calls(home, 1)[0]


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch, home_and_step: Prepared) -> Iterator[Prepared]:
    """Servers stay, until the test's end."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv(WARM, "5m")
    yield home_and_step
    down(home_and_step[0])
    assert servers(home_and_step[0]) == []


def servers(home: Home) -> list[int | None]:
    """Process ids of the servers that run."""
    return [record.pid for record in living(home.processes)]


def forked(home: Home, call: StepCall, key: str) -> int:
    """Do the step once more; the process id of what it was forked from."""
    executor = LocalExecutor(home.processes)
    handle = start(executor, again(home, call, key))
    parent = psutil.Process(handle.process.pid).ppid()
    assert ended(handle) == 0
    return parent


def state_of_idle(home: Home) -> dict[str, Any]:
    """What the only server says once nobody uses it."""
    (record,) = living(home.processes)
    busy = {"users": 1, "steps": 1}
    until(lambda: not any((ask(record, "state") or busy)[name] for name in busy))
    return ask(record, "state") or {}


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_next_submit_finds_the_server_of_the_last_one(warm: Prepared) -> None:
    home, prepare = warm
    first = forked(home, prepare, "first")
    assert servers(home) == [first]
    assert forked(home, prepare, "second") == first
    state = state_of_idle(home)
    assert (state["steps"], state["retired"]) == (0, False)
    assert 0 < state["left_s"] <= 300
    (shown,) = check_fork_servers(home)
    assert (shown["name"], shown["ok"]) == ("fork-steps-1", True)
    assert f"process {first}, " in shown["detail"]
    assert "unless it is used" in shown["detail"]
    removed = down(home).data["removed"]
    assert "process fork-steps-1" in removed
    assert check_fork_servers(home)[0]["detail"] == "none; the next submit starts its own"


def test_it_holds_nothing_of_its_caller_or_home(warm: Prepared) -> None:
    home, prepare = warm
    server = forked(home, prepare, "nothing-held")
    state_of_idle(home)
    files = [str(path.readlink()) for path in Path(f"/proc/{server}/fd").iterdir()]
    assert {file for file in files if not file.startswith(("socket:", "anon_inode:"))} == {os.devnull}
    assert Path(f"/proc/{server}/cwd").readlink() == Path("/")
    assert os.getsid(server) == server


def test_two_submits_at_once_start_one_server(warm: Prepared) -> None:
    home, prepare = warm
    with ThreadPoolExecutor(2) as pool:
        parents = set(pool.map(lambda key: forked(home, prepare, key), ("one", "other")))
    assert list(parents) == servers(home)


def test_a_killed_server_is_replaced_under_its_name(warm: Prepared) -> None:
    home, prepare = warm
    first = forked(home, prepare, "before")
    psutil.Process(first).kill()
    until(lambda: not servers(home))
    second = forked(home, prepare, "after")
    assert second != first
    assert [record.name for record in living(home.processes)] == ["fork-steps-1"]


@pytest.mark.parametrize("changed", ["umask", "variable", "folder"])
def test_another_umask_or_early_variable_takes_the_place_of_an_idle_one(
    warm: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    home, prepare = warm
    first = forked(home, prepare, f"plain-{changed}")
    state_of_idle(home)
    before = os.umask(0o077) if changed == "umask" else None
    if changed == "variable":
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    if changed == "folder":
        monkeypatch.chdir(tmp_path)
    try:
        second = forked(home, prepare, f"other-{changed}")
    finally:
        if before is not None:
            os.umask(before)
    assert (second == first) is (changed == "folder")
    until(lambda: servers(home) == [second])


def test_one_that_is_in_use_is_left_alone(warm: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    home, prepare = warm
    used = LocalExecutor(home.processes)
    handle = start(used, again(home, prepare, "in-use"))
    first = psutil.Process(handle.process.pid).ppid()
    assert ended(handle) == 0
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    own = forked(home, prepare, "beside")
    assert own != first
    assert servers(home) == [first]
    assert psutil.Process(first).is_running()


def test_old_code_is_never_run(warm: Prepared, tmp_path: Path) -> None:
    home, prepare = warm
    copy = tmp_path / "checkout"
    shutil.copytree(
        Path(tidegate.__path__[0]), copy / "tidegate", ignore=shutil.ignore_patterns("__pycache__")
    )
    step = copy / "tidegate" / "pipelines" / "steps" / "prepare.py"

    def submit(key: str) -> tuple[int, str]:
        call = again(home, prepare, key)
        path = home.folder_of(Path(call.run).name).call(call.id)
        argv = [sys.executable, "-P", "-c", DRIVER, str(path), str(home.processes)]
        # Python itself takes a compiled file for one of the same size and time of change.
        env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
        return int(ran.stdout), call.log.with_name(f"{call.id}.log").read_text()

    first, said = submit("old")
    assert submit("old-again")[0] == first
    assert "new code" not in said
    step.write_text(step.read_text() + NEW_CODE)
    second, said = submit("new")
    assert second != first
    assert "new code" in said
    until(lambda: servers(home) == [second])
    kept = step.stat()
    step.write_text(step.read_text().replace("new code", "NEW CODE"))  # as long as before
    os.utime(step, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    third, said = submit("newest")
    assert third not in (first, second)
    assert "NEW CODE" in said


def test_it_ends_by_itself(warm: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    home, prepare = warm
    monkeypatch.setenv(WARM, "1s")
    server = psutil.Process(forked(home, prepare, "short"))
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    assert list(home.processes.glob("fork-*.json")) == []


def test_it_ends_when_its_home_is_gone(warm: Prepared, tmp_path: Path) -> None:
    home, prepare = warm
    records = tmp_path / "records"
    executor = LocalExecutor(records)
    handle = start(executor, again(home, prepare, "homeless"))
    server = psutil.Process(psutil.Process(handle.process.pid).ppid())
    assert ended(handle) == 0
    del executor
    shutil.rmtree(records)
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    assert not records.exists()


def test_it_ends_when_memory_is_short_or_another_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(processes.MARK, "fork-steps-1-abc")
    (tmp_path / "fork-steps-1.json").write_text(json.dumps({"mark": "fork-steps-1-abc"}))
    stay = Stay(tmp_path, "fork-steps-1", 60.0)
    assert not stay.is_over()
    monkeypatch.setattr(staying, "LEAST_MEMORY", 0.99)
    assert stay.is_over()
    monkeypatch.setattr(staying, "LEAST_MEMORY", 0.0)
    assert not stay.is_over()
    (tmp_path / "fork-steps-1.json").write_text(json.dumps({"mark": "fork-steps-1-def"}))
    assert stay.is_over()
    stay.forget()
    assert (tmp_path / "fork-steps-1.json").exists()
    assert 0 < memory.share_left() < 0.99


def test_none_stays_where_none_is_wanted(warm: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    home, prepare = warm
    monkeypatch.setenv(WARM, "0")
    forked(home, prepare, "none")
    assert servers(home) == []
    assert check_fork_servers(home)[0]["detail"] == "none; none stays after a submit"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 600), ("0", 0), ("45", 45), ("10m", 600), ("1.5h", 5400), ("0s", 0), ("0.5", 0.5), ("1d", 86400)],
)
def test_how_long(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv(WARM, text)
    assert warm_seconds() == seconds


@pytest.mark.parametrize("text", ["ten minutes", "-5", "nan", "1e3", "10 m 5", "86401", "2d", "٣"])
def test_what_is_no_time(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(WARM, text)
    expected = (
        rf'\$TIDEGATE_WARM is "{text}"; expected seconds, or a time such as 30s, 10m or 2h, of a day at most'
    )
    with pytest.raises(UsageError, match=expected):
        warm_seconds()
