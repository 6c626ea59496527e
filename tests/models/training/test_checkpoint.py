"""A training that is told to end at any batch goes on from there as if nothing had been; a bad file is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Checkpoint
from tidegate.models.errors import OptionsError, StoppedError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.checkpoint import TrainingProgress
from tidegate.models.training.fit import History, fit

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(110, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
SPECS = {"x": InputSpec((4,), "float32", "numeric")}
MODEL = {"family": "mlp", "hidden": [6], "dropout": 0.4, "batch_norm": True}
TRAINING = {
    "epochs": 5,
    "batch_size": 16,
    "checkpoint": {"every": 1},
    "early_stopping": {"patience": 2},
    "learning_rate_schedule": {"name": "reduce_on_plateau", "patience": 0},
}


class Files:
    """Keeps every checkpoint in a folder; says that the process is to end once there are `most` more."""

    writes = True

    def __init__(self, work: Path, most: int | None = None) -> None:
        self.work, self.most, self.reasons = work, most, list[str]()
        self.kept = sorted(work.glob("kept-*"))

    def save(self, path: Path) -> None:
        self.kept.append(path.rename(self.work / f"kept-{len(self.kept):04}.npz"))
        self.most = None if self.most is None else self.most - 1

    def candidates(self) -> Iterator[Path]:
        yield from reversed(self.kept)

    def report_unusable(self, reason: str) -> None:
        self.reasons.append(reason)

    def stop_requested(self) -> bool:
        return self.most == 0


def trained(keeper: Files | None, model: dict[str, Any] = MODEL, **more: Any) -> tuple[Any, History]:
    built = build_model(model, SPECS, outputs_for("classification", 2, 0), 1)
    rows, others = ({"x": X[:80]}, Y[:80]), ({"x": X[80:]}, Y[80:])
    wanted = {**TRAINING, **more.pop("training", {})}
    history = fit(
        built, rows, others, wanted, task="classification", classes=(0, 1), seed=5, checkpoints=keeper, **more
    )
    return built, history


def state(model: Any) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in model.variables]


@pytest.mark.parametrize("xla", [False, True])
def test_stopped_again_and_again_it_ends_with_the_same_bits(tmp_path: Path, xla: bool) -> None:
    """Five batches an epoch, stopped every eighth: at every place of an epoch."""
    training = {"xla": xla}
    expected, course = trained(None, training=training)
    stops = 0
    while True:
        try:
            found, history = trained(Files(tmp_path, most=7), training=training)
            break
        except StoppedError as error:
            assert "the state is saved" in str(error)
            stops += 1
    assert stops >= 2 and history.resumed is not None
    assert state(found) == state(expected)
    assert (history.epochs, history.best_epoch, history.stopped) == (
        course.epochs,
        course.best_epoch,
        course.stopped,
    )


def test_between_calls_of_many_epochs_it_stops_and_goes_on(tmp_path: Path) -> None:
    """The first call has 64 batches, of five an epoch; the state is saved before the call after it."""
    training = {
        "epochs": 40,
        "checkpoint": {"every": "1h"},
        "early_stopping": None,
        "learning_rate_schedule": None,
    }
    expected, course = trained(None, training=training)
    keeper = Files(tmp_path, most=0)
    with pytest.raises(StoppedError, match="in epoch 13, after batch 0 of 5"):
        trained(keeper, training=training, last_only=True)
    found, history = trained(Files(tmp_path), training=training, last_only=True)
    assert history.resumed == (12, 0)
    assert state(found) == state(expected)
    assert history.epochs == course.epochs[-1:]


def test_what_was_done_is_told_when_it_goes_on(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="in epoch 2, after batch 3 of 5"):
        trained(Files(tmp_path, most=7))
    told: list[tuple[TrainingProgress, int]] = []
    epochs: list[int] = []
    _, history = trained(
        Files(tmp_path),
        on_resume=lambda *given: told.append(given),
        on_epoch=lambda epoch, *_: epochs.append(epoch),
    )
    assert history.resumed == (1, 3) and epochs[0] == 1
    assert [(batches, len(progress.ended_ms)) for progress, batches in told] == [(5, len(history.epochs))]


@pytest.mark.parametrize("harm", ["cut", "emptied", "of another model"])
def test_a_bad_checkpoint_is_skipped_for_the_one_before(tmp_path: Path, harm: str) -> None:
    with pytest.raises(StoppedError):
        trained(Files(tmp_path, most=8))
    newest = sorted(tmp_path.glob("kept-*"))[-1]
    if harm == "of another model":
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(StoppedError):
            trained(Files(other, most=1), model={**MODEL, "hidden": [7]})
        newest.write_bytes((other / "kept-0000.npz").read_bytes())
    else:
        newest.write_bytes(newest.read_bytes()[: 0 if harm == "emptied" else -200])
    keeper = Files(tmp_path)
    found, history = trained(keeper)
    assert history.resumed == (1, 3) and len(keeper.reasons) == 1
    if harm == "of another model":
        assert "has shape (4, 7), expected (4, 6)" in keeper.reasons[0]
    assert state(found) == state(trained(None)[0])


def test_a_full_disk_costs_the_checkpoint_only(tmp_path: Path) -> None:
    keeper = Files(tmp_path / "gone")
    assert len(trained(keeper)[1].epochs) > 1
    assert "could not be written" in keeper.reasons[0]


def test_none_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    keeper = Files(tmp_path)
    trained(keeper, training={"checkpoint": None})
    assert keeper.kept == []


def test_how_often_is_a_time_or_a_number_of_batches() -> None:
    kinds = {"90s": (90.0, None), "250ms": (0.25, None), "5m": (300.0, None), 40: (0.0, 40)}
    for every, expected in kinds.items():
        chosen = Checkpoint(every=every)
        assert (chosen.seconds, chosen.batches) == expected
    for wrong in ("soon", 0, "0s"):
        with pytest.raises(OptionsError, match=r"training\.checkpoint\.every"):
            parse_options(Training, {"checkpoint": {"every": wrong}}, "training")


def test_who_only_goes_on_from_checkpoints_writes_none(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.writes = False
    trained(files)
    assert list(tmp_path.iterdir()) == []
