"""How often a start is tried, and by how many processes at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.far_cluster import TARGET, Far, experiment, put
from tidegate.infra.errors import UnreachableError
from tidegate.pipelines.commands.schedules.scheduler import MOST_AT_ONCE, Processes
from tidegate.pipelines.commands.schedules.start import begin_due
from tidegate.pipelines.driver.kept_plan import PLAN
from tidegate.pipelines.scheduling.document import Start, update
from tidegate.pipelines.scheduling.times import MOST_TRIES, PATIENCE_S
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target


def tried(far: Far, tries: int, seconds_ago: float) -> None:
    """The start was tried so often, for the first time so long ago."""

    changes = {"tries": tries, "since": time.time() - seconds_ago}
    update(
        far.store,
        "wine",
        lambda state: state.model_copy(
            update={"begun": state.begun and state.begun.model_copy(update=changes)}
        ),
    )


def away() -> None:
    raise UnreachableError("the API server cannot be reached")


def test_a_cluster_that_is_away_is_waited_for_and_told_once(far: Far, tmp_path: Path) -> None:
    put(far, experiment(tmp_path, notify=[{"to": "webhook", "secret": "ops", "on": ["schedule_missed"]}]))
    far.owe()
    far.jobs.looked = away
    for _ in range(2 * MOST_TRIES):
        with pytest.raises(UnreachableError):
            begin_due(far.pod(), "wine")
    assert far.state.begun is not None and far.state.begun.tries == 2 * MOST_TRIES
    assert far.state.outbox == () and far.entries == []
    tried(far, 2 * MOST_TRIES, PATIENCE_S - 60)
    with pytest.raises(UnreachableError):
        begin_due(far.pod(), "wine")
    tried(far, 2 * MOST_TRIES, PATIENCE_S + 1)
    assert begin_due(far.pod(), "wine") == ""
    assert begin_due(far.pod(), "wine") == ""
    assert far.entries == [("failed", "")]
    assert [told.event for told in far.state.outbox] == ["schedule_missed"]


def test_a_cluster_that_comes_back_has_its_start(far: Far, tmp_path: Path) -> None:
    put(far, experiment(tmp_path))
    far.owe()
    tried(far, 2 * MOST_TRIES, 60)
    run = begin_due(far.pod(), "wine")
    assert far.entries == [("started", run)]


def test_processes_that_die_are_told_after_a_while(far: Far, tmp_path: Path) -> None:
    put(far, experiment(tmp_path))
    far.owe()
    tried(far, MOST_TRIES, PATIENCE_S + 1)
    assert begin_due(far.pod(), "wine") == ""
    assert far.state.recent[-1].reason.startswith(f"{MOST_TRIES} processes")


def test_a_start_whose_run_is_named_fails_at_once(far: Far, tmp_path: Path) -> None:
    """What is wrong after its run's id was written down is told, and not tried again."""
    put(far, experiment(tmp_path))
    far.owe()

    def lose_plan() -> None:
        if far.state.begun is not None and far.state.begun.run:
            far.store.delete(f"runs/{far.state.begun.run}/{PLAN}")

    far.store.act = lose_plan
    assert begin_due(far.pod(), "wine") == ""
    far.store.act = lambda: None
    assert far.state.begun is None
    assert far.state.recent[-1].outcome == "failed"
    assert "the store has no plan" in far.state.recent[-1].reason


SCRIPT = """#!/bin/sh
name=$7
touch "$0.began-$name"
while [ ! -e "$0.end-$name" ] && [ ! -e "$0.end" ]; do sleep 0.05; done
"""


class Children:
    """Processes that begin nothing, and end when they are told to."""

    def __init__(self, folder: Path, pod: bool) -> None:
        self.script = folder / "python"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        target = Target.model_validate(TARGET) if pod else None
        self.processes = Processes(Home(folder / "home", target))

    @property
    def began(self) -> list[str]:
        return sorted(path.name.partition("began-")[2] for path in self.script.parent.glob("python.began-*"))

    def tick(self, count: int = MOST_AT_ONCE + 2) -> None:
        """All have a start due."""
        for number in range(count):
            start = Start(id=f"cron {number}", cause="cron", moment=0.0, at=0.0)
            self.processes.start(f"s{number}", start)

    def until_began(self, count: int) -> list[str]:
        deadline = time.monotonic() + 60
        while len(self.began) < count:
            assert time.monotonic() < deadline
            self.tick()
            time.sleep(0.05)
        return self.began

    def end(self, name: str = "") -> None:
        self.script.with_name(f"python.end-{name}" if name else "python.end").touch()


@pytest.fixture(params=[False, True], ids=["home", "pod"])
def children(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Children]:
    children = Children(tmp_path, request.param)
    monkeypatch.setattr(sys, "executable", str(children.script))
    yield children
    children.end()
    for _, _, process in children.processes._running.values():
        process.wait(60)


def test_few_processes_start_runs_at_once(children: Children) -> None:
    """The others wait for the next look, untried; they have their turn when one has ended."""
    names = [f"s{number}" for number in range(MOST_AT_ONCE + 1)]
    children.tick()
    assert children.until_began(MOST_AT_ONCE) == names[:MOST_AT_ONCE]
    time.sleep(0.3)
    children.tick()
    time.sleep(0.3)
    assert children.began == names[:MOST_AT_ONCE]
    children.end("s0")
    assert children.until_began(MOST_AT_ONCE + 1) == names


@pytest.mark.parametrize(("tries", "pause_s"), [(0, 30.0), (1, 30.0), (2, 60.0), (4, 240.0), (9999, 600.0)])
def test_a_cluster_is_asked_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int, pause_s: float
) -> None:
    children = Children(tmp_path, pod=True)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    start = Start(id="cron 0", cause="cron", moment=0.0, at=0.0, tries=tries)
    children.processes.start("wine", start)
    _, begun, process = children.processes._running["wine"]
    process.wait(60)
    for later, again in ((pause_s - 1, False), (pause_s + 1, True)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: begun + later)
        children.processes.start("wine", start)
        assert (children.processes._running["wine"][2] is not process) is again
    children.processes._running["wine"][2].wait(60)
