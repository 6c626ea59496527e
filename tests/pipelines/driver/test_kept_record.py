"""The record of a run: what a reader finds in the folder, and that its cost does not grow with every step."""

from pathlib import Path

import pytest

from tidegate.pipelines.driver import kept_record
from tidegate.pipelines.driver.kept_record import FEW_STEPS, KeptRecord
from tidegate.pipelines.state.home import RunFolder, RunRecord, StepRecord, StepStatus

RUN = RunRecord(run="many", name="many", endpoint="many", status="running", created=0.0, experiment={})


class Folder(RunFolder):
    """A run's folder that counts how often its record is written."""

    writes = 0

    def write(self, record: RunRecord) -> None:
        self.writes += 1
        super().write(record)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "many", alive=lambda: True)
    made.create()
    return made


def of(number: int, status: StepStatus) -> StepRecord:
    return StepRecord(id=f"train-{number}", step="train", status=status)


def test_a_few_steps_are_written_at_each_change(folder: Folder) -> None:
    kept = KeptRecord(folder, RUN)
    for number in (0, 1):
        kept.set_step(of(number, "running"))
        assert folder.read().steps[-1] == of(number, "running")
    kept.set_step(of(0, "done"))
    assert [(step.id, step.status) for step in folder.read().steps] == [
        ("train-1", "running"),
        ("train-0", "done"),
    ]


def test_thousands_are_written_rarely_and_in_the_end(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_record, "PAUSE_S", 3600.0)
    kept = KeptRecord(folder, RUN)
    for number in range(20 * FEW_STEPS):
        kept.set_step(of(number, "running"))
        kept.set_step(of(number, "done"))
        kept.write_if_due()
    assert folder.writes <= 2 * FEW_STEPS + 1
    kept.update(status="done")
    found = folder.read()
    assert found.status == "done"
    assert [step.id for step in found.steps] == [f"train-{number}" for number in range(20 * FEW_STEPS)]
    assert {step.status for step in found.steps} == {"done"}


def test_what_was_not_written_at_once_is_written_when_the_pause_is_over(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptRecord(
        folder, RUN.model_copy(update={"steps": [of(number, "done") for number in range(FEW_STEPS)]})
    )
    monkeypatch.setattr(kept_record, "PAUSE_S", 3600.0)
    kept.write()
    kept.set_step(of(FEW_STEPS, "running"))
    assert len(folder.read().steps) == FEW_STEPS
    monkeypatch.setattr(kept_record, "PAUSE_S", 0.0)
    monkeypatch.setattr(kept_record, "SHARE", 0)
    kept.write()
    kept.set_step(of(FEW_STEPS + 1, "running"))
    assert len(folder.read().steps) == FEW_STEPS + 2


def test_no_steps_once_a_run_begins_again(folder: Folder) -> None:
    kept = KeptRecord(folder, RUN.model_copy(update={"steps": [of(0, "failed")]}))
    kept.update(status="running", steps=[])
    assert folder.read().steps == []
