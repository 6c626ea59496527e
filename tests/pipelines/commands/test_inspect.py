"""What people are shown of runs: the newest one of an experiment, drift in words, and what a trial is doing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.commands.endpoints.drift import drift_summary, drift_summary_with_rows
from tidegate.pipelines.commands.inspect import logs, show
from tidegate.pipelines.driver.progress import Progress
from tidegate.pipelines.errors import UnknownNameError, UsageError, error_message
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.home import Home, RunFolder, RunRecord, StepRecord

TRIAL = "train-0-1a2b3c4d5e"


class Terminal(io.StringIO):
    """Text that is drawn on a terminal."""

    def isatty(self) -> bool:
        return True


def recorded(home: Home, run: str, name: str, created: float) -> RunFolder:
    folder = home.folder_of(run)
    folder.create()
    record = {"run": run, "name": name, "endpoint": name, "status": "done", "created": created}
    folder.write(RunRecord.model_validate(record | {"experiment": {}}))
    return folder


def test_an_experiments_name_shows_its_newest_run(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for run, created in (("wine-2", 2.0), ("wine-3", 3.0), ("wine-1", 1.0)):
        recorded(home, run, "wine", created)
    recorded(home, "other-1", "other", 4.0)
    assert show(home, "wine").data["run"] == "wine-3"
    assert logs(home, "wine", None, follow=False, quiet=True).data["run"] == "wine-3"
    assert show(home, "wine-1").data["run"] == "wine-1"
    recorded(home, "wine", "named-as-an-experiment", 0.0)
    assert show(home, "wine").data["run"] == "wine"
    with pytest.raises(UnknownNameError, match=r'no run "wine-4" here; did you mean "wine-[123]"'):
        show(home, "wine-4")


@pytest.mark.parametrize(
    ("status", "rows", "short", "line"),
    [
        ("unknown", 12, "unknown: 12 of 200 rows", "unknown: 12 of 200 rows"),
        ("stable", 300, "stable", "stable, 300 rows"),
        ("moved", 300, "moved: width 0.30", "moved: width 0.30, 300 rows"),
    ],
)
def test_drift_in_words(status: str, rows: int, short: str, line: str) -> None:
    features = {} if status == "unknown" else {"width": 0.3 if status == "moved" else 0.03}
    drift: dict[str, Any] = {"rows": rows, "needed": 200, "status": status, "features": features}
    drift["predictions"] = {}
    assert drift_summary(drift) == short
    assert drift_summary_with_rows(drift) == line


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_trial_that_starts_says_what_it_is_doing(tmp_path: Path, stream: io.StringIO) -> None:
    folder = recorded(Home(tmp_path / "home"), "wine-1", "wine", 1.0)
    folder.log(TRIAL).write_text("starting: of an earlier try\n")
    progress = Progress(folder, stream)
    progress.show_step(StepRecord(id=TRIAL, step="train", status="running"))
    with folder.log(TRIAL).open("a") as log:
        log.write("starting: importing TensorFlow\na library's own words\nepoch 1/2  0.1s  loss 1\n")
    progress.refresh()
    shown = [line.split(maxsplit=1) for line in stream.getvalue().splitlines()]
    expected = [[TRIAL, "starting: importing TensorFlow"]]
    assert shown == (
        expected if stream.isatty() else [*expected, [TRIAL, "epoch 1/2  0.1s  loss 1"]]
    )  # a bar stands for the epochs


def test_nobody_is_advised_to_resume_what_cannot_be_resumed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    reason = "cancelled; `tidegate resume wine-1` continues it"
    folder = recorded(home, "wine-1", "wine", 1.0)
    experiment = {"name": "wine", "data": {"source": str(tmp_path / "gone.csv")}, "model": {"family": "mlp"}}
    folder.write(folder.read().model_copy(update={"reason": reason, "experiment": experiment}))
    assert "cancelled; it cannot be resumed: its data" in show(home, "wine-1").text
    document = {"name": "digits", "data": {"dataset": "digits"}, "model": {"family": "mlp"}}
    same = validate(document, "digits")
    plan = make_plan(same, gather(same, home))
    folder = recorded(home, plan.run, "digits", 2.0)
    advice = f"cancelled; `tidegate resume {plan.run}` continues it"
    folder.write(
        folder.read().model_copy(
            update={"reason": advice, "experiment": plan.experiment.model_dump(mode="json")}
        )
    )
    assert advice in show(home, plan.run).text


def test_a_quoted_message_keeps_one_end() -> None:
    assert error_message(UsageError("x: It is bad.; use y")) == "x: It is bad; use y"
    assert error_message(UsageError("waits for more...; use y.")) == "waits for more...; use y."
