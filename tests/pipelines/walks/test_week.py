"""A week of a schedule in accelerated time: a clock that does not wait, and everything else is real.

The runs train, are gated and released by drivers of their own; a real HTTP server takes what is told.
"""

from __future__ import annotations

import json
import random
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.infra.notifications.test_channels import Receiver, receiver
from tidegate.infra.system import processes
from tidegate.infra.system.clock import FakeClock
from tidegate.pipelines.commands.endpoints.drift import drift_of
from tidegate.pipelines.commands.schedules.scheduler import NAME, Scheduler
from tidegate.pipelines.commands.schedules.start import InThisProcess
from tidegate.pipelines.commands.wait import wait_for_end
from tidegate.pipelines.driver.notifications import KEYS
from tidegate.pipelines.scheduling.document import Entry, ScheduleState, require, update
from tidegate.pipelines.scheduling.times import next_start
from tidegate.pipelines.state.home import Home
from tidegate.serving.monitoring.drift import MIN_ROWS

__all__ = ["receiver"]
HOUR, DAY = 3600.0, 86400.0
FILE = """
name: week
data: {source: ./rows.csv, target: y}
model: {family: linear}
training: {backend: numpy, epochs: 30, optimizer: {name: sgd, learning_rate: 0.3}}
gate: {metric: test_accuracy, minimum: 0.5, improve_on_champion: null}
schedule: {cron: '0 3 * * *', timezone: Europe/Berlin, catch_up: one}
trigger:
  - {new_data: 12h}
  - {drift: 0.25, for: 1h}
notify: {to: webhook, secret: hook, on: [released, refused, failed, schedule_missed, drift]}
"""


def rows(number: int, shift: float = 0.0) -> list[tuple[float, float]]:
    drawn = random.Random(number)
    return [(drawn.gauss(shift, 1), drawn.gauss(0, 1)) for _ in range(number)]


class Week:
    """The home, its scheduler in fake time, and what happens to its data."""

    def __init__(self, cli: Cli, folder: Path, receiver: Receiver) -> None:
        self.cli, self.folder, self.receiver = cli, folder, receiver
        self.home = Home(cli.home)
        secret = self.home.path / "secrets" / "hook.env"
        secret.parent.mkdir()
        secret.write_text(f"URL={receiver.url}\n")
        secret.chmod(0o600)
        self.write(rows(200))
        (folder / "experiment.yaml").write_text(FILE)
        said = cli.ok("submit", str(folder / "experiment.yaml"), "--schedule")
        assert said["schedule"] == "week"
        assert processes.stop(self.home.processes, NAME)  # real time would be too slow
        noon = (time.time() // DAY + 1) * DAY + DAY / 2  # far from the schedule's moments, whenever this runs
        update(self.home.store, "week", lambda state: state.model_copy(update={"handled": noon}))
        self.clock = FakeClock(noon)
        self.starter = InThisProcess(self.home)
        self.scheduler = Scheduler(self.home, self.clock, self.starter)
        self.seen = 0

    def write(self, values: list[tuple[float, float]]) -> None:
        lines = [f"{a:.4f},{b:.4f},{'yes' if a + b > 0 else 'no'}" for a, b in values]
        (self.folder / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")

    @property
    def state(self) -> ScheduleState:
        return require(self.home.store, "week")

    def pass_time(self, seconds: float) -> list[Entry]:
        """Let time go by; return what became of starts meanwhile."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.scheduler.tick()
            state = self.state
            due = [one for one in state.owed if one.at <= self.clock.now() and not one.queued]
            if state.begun is not None or due:
                self.clock.sleep(1)
                continue
            experiment = self.scheduler._experiment(state)
            begins = state.model_copy(update={"owed": tuple(one for one in state.owed if not one.queued)})
            soon = next_start(begins, experiment.schedule, self.clock.now() + 1)
            self.clock.sleep(max(1.0, min(end, soon or end, self.clock.now() + 600) - self.clock.now()))
        self.scheduler.tick()
        return self.new_entries()

    def new_entries(self) -> list[Entry]:
        known = self.state.recent
        fresh, self.seen = known[self.seen :], len(known)
        return list(fresh)

    def events(self) -> list[dict[str, Any]]:
        """What was told since the last look."""
        deadline = time.monotonic() + 30
        while self.home.store.keys(KEYS) and time.monotonic() < deadline:
            self.scheduler.close()
            self.clock.sleep(61)
            self.scheduler.tick()
            time.sleep(0.05)
        got, self.receiver.got = self.receiver.got, []
        unique = {headers["webhook-id"]: json.loads(body) for headers, body in got}
        return sorted(unique.values(), key=lambda event: str(event["event"]))

    def releases(self) -> int:
        (known,) = self.cli.ok("endpoints")
        return int(known["release"])


def outcomes(entries: list[Entry]) -> list[tuple[str, str, int]]:
    return [(entry.cause, entry.outcome, entry.count) for entry in entries]


@pytest.mark.slow  # five runs, each trained and released
def test_a_week(cli: Cli, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    week = Week(cli, tmp_path, receiver)

    # Night 1: the first run is trained, gated and released.
    assert outcomes(week.pass_time(DAY)) == [("cron", "started", 1)]
    assert week.releases() == 1
    assert [event["event"] for event in week.events()] == ["released"]

    # Night 2: nothing has changed, so the run is the same one, and nothing is done.
    assert outcomes(week.pass_time(DAY)) == [("cron", "unchanged", 1)]
    assert week.events() == []

    # Nights 3 and 4: the machine is off, and new data comes. One run makes up for both.
    week.write(rows(210))
    week.clock.jump(2 * DAY)
    assert outcomes(week.pass_time(HOUR)) == [("cron", "missed", 2), ("catch_up", "started", 1)]
    assert week.releases() == 2
    released, missed = week.events()
    assert (released["event"], missed["event"]) == ("released", "schedule_missed")
    assert missed["facts"]["count"] == 2

    # Half a day later the data counts as new, and it was trained on already.
    assert outcomes(week.pass_time(12 * HOUR)) == [("new_data", "unchanged", 1)]

    # Night 5: the data is gone. It is told, and the endpoint stays as it is.
    (tmp_path / "rows.csv").rename(tmp_path / "away.csv")
    night = week.pass_time(DAY - 13 * HOUR)
    assert outcomes(night) == [("cron", "failed", 1)]
    assert "does not exist" in night[0].reason
    (told,) = week.events()
    assert "does not exist" in told["facts"]["reason"]
    assert week.releases() == 2
    (tmp_path / "away.csv").rename(tmp_path / "rows.csv")

    # Requests drift for an hour: told, retrained on the rows that came with them, gated, released.
    shifted = rows(MIN_ROWS + 20, shift=4.0)
    predict(cli, shifted)
    week.write([*rows(210), *shifted])
    assert outcomes(week.pass_time(2 * HOUR)) == [("drift", "started", 1)]
    assert week.releases() == 3
    drift, released = week.events()
    assert (drift["event"], released["event"]) == ("drift", "released")
    assert drift["title"].startswith("requests to endpoint week have drifted: ")

    # Night 6 begins a run that lasts, so night 7 is skipped.
    week.starter.wait = False
    week.write(rows(240))
    entries = week.pass_time(2 * DAY)
    assert ("cron", "skipped", 1) in outcomes(entries)
    assert [entry.outcome for entry in entries].count("started") == 1
    assert wait_for_end(week.home, week.home.folder_of(week.state.last_run), time.monotonic() + 120)
    assert any("was still underway" in event["facts"].get("reason", "") for event in week.events())

    listed = cli("schedule", "list", "week")
    assert listed.code == 0
    assert "drift 0.25 for 1h" in listed.stdout
    assert "the home's scheduler does not run" in listed.stdout


def predict(cli: Cli, values: list[tuple[float, float]]) -> None:
    (known,) = cli.ok("endpoints")
    body = json.dumps({"rows": [{"a": a, "b": b} for a, b in values]}).encode()
    request = urllib.request.Request(
        f"{known['url']}/predict", body, {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert len(json.loads(answer.read())["predictions"]) == len(values)
    deadline = time.monotonic() + 30
    while (drift_of(known["url"]) or {}).get("status") != "moved" and time.monotonic() < deadline:
        time.sleep(0.2)  # in real time: the server counts beside its answers
