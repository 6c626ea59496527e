"""kill -9 of the scheduler, and of the process that begins a run, at every write: each start happens once."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Cli
from tidegate.infra.store import FolderStore
from tidegate.infra.system import processes
from tidegate.infra.system.clock import FakeClock
from tidegate.pipelines.commands.schedules.scheduler import NAME, Scheduler
from tidegate.pipelines.commands.schedules.start import begin_due
from tidegate.pipelines.commands.wait import wait_for_end
from tidegate.pipelines.experiment.load import load_experiment
from tidegate.pipelines.scheduling.document import ScheduleState, Start, change, require, update
from tidegate.pipelines.state.home import Home

FILE = """
name: nightly
data: {source: ./rows.csv, target: y}
model: {family: linear}
training: {backend: numpy, epochs: 2, optimizer: {name: sgd, learning_rate: 0.1}}
gate: none
schedule: {cron: '0 0 1 1 *'}
"""


class Killed(BaseException):
    """The process ends here."""


class Dying(FolderStore):
    """A store whose process is killed before or after its next write but `left`."""

    def __init__(self, path: Path, left: int, after: bool) -> None:
        super().__init__(path)
        self.left, self.after = left, after

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        self.left -= 1
        if self.left == -1 and not self.after:
            raise Killed
        written = super().write(key, content, etag)
        if self.left == -1:
            raise Killed
        return written


def make_file(folder: Path) -> Path:
    lines = [f"{at % 17},{at % 5},{'yes' if at % 17 > 8 else 'no'}" for at in range(120)]
    (folder / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    (folder / "experiment.yaml").write_text(FILE)
    return folder / "experiment.yaml"


def owe(home: Home) -> None:
    now = time.time()
    start = Start(id=f"hand {now:.3f}", cause="hand", moment=now, at=now)
    update(home.store, "nightly", lambda state: state.model_copy(update={"owed": (start,), "recent": ()}))


def entries(home: Home) -> list[tuple[str, str]]:
    return [(entry.outcome, entry.run) for entry in require(home.store, "nightly").recent]


@pytest.mark.slow  # six runs, each trained and released
def test_a_start_that_is_killed_at_any_write_happens_once(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    cli.ok("submit", str(make_file(tmp_path)), "--schedule")
    home = Home(cli.home)
    processes.stop(home.processes, NAME)
    created = list[float]()
    for left in range(3):  # the try is counted, the run is named, the end is written
        for after in (False, True):
            # Each turn another run: the data is another.
            with (tmp_path / "rows.csv").open("a") as file:
                file.write(f"{left},{int(after)},no\n" * 3)
            owe(home)
            begun = update(home.store, "nightly", _begun)
            assert begun is not None
            dying = Home(cli.home)
            dying.__dict__["store"] = Dying(home.path / "store", left, after)
            with pytest.raises(Killed):
                begin_due(dying, "nightly")
            begin_due(home, "nightly")  # the next process
            ((outcome, run),) = entries(home)
            assert outcome in ("started", "unchanged")
            assert wait_for_end(home, home.folder_of(run), time.monotonic() + 120)
            assert home.folder_of(run).read().status == "done"
            created.append(home.folder_of(run).read().created)
            assert begin_due(home, "nightly") == ""
    assert len(set(created)) == 6
    assert len(list(home.runs_path.iterdir())) == 6


def _begun(state: ScheduleState) -> ScheduleState:
    first, *others = state.owed
    return state.model_copy(update={"begun": first, "owed": tuple(others)})


def test_a_scheduler_that_is_killed_at_any_write_owes_a_start_once(tmp_path: Path) -> None:
    experiment = load_experiment(str(make_file(tmp_path)))
    for left in range(3):
        for after in (False, True):
            home = Home(tmp_path / f"home-{left}-{after}")
            first = ScheduleState(
                name="nightly", experiment=experiment.model_dump(mode="json"), created=0.0, handled=0.0
            )
            change(home.store, "nightly", partial(_given, first))
            clock = FakeClock(365 * 86400.0 + 10)  # ten seconds after a moment
            dying = Home(home.path)
            dying.__dict__["store"] = Dying(home.path / "store", left, after)
            seen = list[str]()
            for place in (dying, home, home):
                try:
                    Scheduler(place, clock, Noting(seen)).tick()
                except Killed:
                    continue
            assert set(seen) == {"cron 31536000"}
            known = require(home.store, "nightly")
            assert known.begun is not None
            assert known.owed == ()


def _given(state: ScheduleState, known: ScheduleState | None) -> ScheduleState:
    del known
    return state


class Noting:
    """Notes what it is to begin."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def start(self, name: str, start: Start) -> None:
        del name
        self._seen.append(start.id)

    def end(self, run: str) -> None:
        self._seen.append(run)


def test_the_scheduler_is_killed_and_goes_on(cli: Cli, tmp_path: Path) -> None:
    cli.ok("submit", str(make_file(tmp_path)), "--schedule")
    home = Home(cli.home)
    pid = _scheduler(home)
    assert _item(cli)["ok"]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    checked = _item(cli)
    assert (checked["ok"], checked["fix"]) == (False, "tidegate up")
    assert "nightly" in checked["detail"]
    cli.ok("schedule", "run", "nightly")  # which starts it again
    assert _scheduler(home) != pid
    deadline = time.monotonic() + 60
    while not entries(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    ((outcome, run),) = entries(home)
    assert outcome == "started"
    assert cli("wait", run).code == 0
    shown = cli.ok("show", run)
    assert shown["cause"].startswith("nightly hand ")
    cli.ok("schedule", "delete", "nightly")
    ended = processes.find(home.processes, NAME)
    assert ended is None or _ends(ended.pid)


def _ends(pid: int | None) -> bool:
    """It ends with the last schedule."""
    assert pid is not None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def _scheduler(home: Home) -> int:
    record = processes.find(home.processes, NAME)
    assert record is not None
    assert record.pid is not None
    return record.pid


def _item(cli: Cli) -> dict[str, Any]:
    return next(one for one in cli("check", "--json").json if one["name"] == NAME)
