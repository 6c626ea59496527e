"""What a loop of the user's is given: rows, schema, options, reports and checkpoints."""

from __future__ import annotations

import math
import os
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.errors import NonFiniteLossError, OptionsError, StoppedError
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training import checkpoint
from tidegate.models.training.callbacks import is_better
from tidegate.models.training.checkpoint import TrainingProgress
from tidegate.models.training.epoch_loop import Hooks

Rows = tuple[Mapping[str, np.ndarray], np.ndarray]
SPLITS = ("train", "validation")
UNUSABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


@dataclass
class OwnTrial:
    """What `train(trial)` is given.

    Attributes:
        schema: of the raw columns: names, kinds, classes.
        specs: shape of a row, dtype and kind of each model input, by name.
        outputs: what the model must answer: `units`, and the activation that makes them probabilities.
        options: `training.options` of the experiment, with the values of this trial.
        training: the experiment's `training` section, such as epochs and batch_size.
        seed: seeds Python, NumPy and Keras before the call.
    """

    schema: Schema
    specs: Mapping[str, InputSpec]
    outputs: Any
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    seed: int
    _rows: Mapping[str, Rows]
    _weights: Mapping[str, np.ndarray | None]
    _columns: Callable[[str], Columns]
    _hooks: Hooks
    _medians: Sequence[float | None]
    _build: Callable[[], Any]
    _higher: Callable[[str], bool]
    _progress: TrainingProgress = field(default_factory=TrainingProgress)
    _resumed: tuple[int, int] | None = None
    _saves: bool = False
    _stopped: str = ""
    _began: float = field(default_factory=time.monotonic)
    _saved_at: float = field(default_factory=time.monotonic)

    @property
    def epoch(self) -> int:
        """The epoch to begin with, or that comes next, from 0."""
        return self._progress.epoch

    @property
    def epochs(self) -> int:
        """`training.epochs`."""
        return int(self.training["epochs"])

    @property
    def batch_size(self) -> int:
        """`training.batch_size`."""
        return int(self.training["batch_size"])

    def rows(self, split: str) -> Rows:
        """The model inputs by name, rows first, and the encoded target: int64 class indices or float32 numbers.

        Args:
            split: "train" or "validation"; test rows stay unseen.

        Raises:
            OptionsError: another split.
        """
        _require_split(split)
        return self._rows[split]

    def weights(self, split: str) -> np.ndarray | None:
        """How much each row counts, float32 (rows,), where `data.weight` names a column; else None."""
        _require_split(split)
        return self._weights[split]

    def columns(self, split: str) -> Columns:
        """The raw columns of a split, before any transform; rows in the same order."""
        _require_split(split)
        return self._columns(split)

    def build(self) -> Any:
        """The untrained model of the experiment's `model:` section.

        Raises:
            ModelsError: there is none, or it cannot be built.
        """
        return self._build()

    def report(self, epoch: int, **metrics: float) -> bool:
        """Report an epoch: to the log, MLflow, the progress and the search.

        Args:
            epoch: from 0, each once and in order.
            metrics: numbers by name; `val_loss`, else `loss`, else the first one is what trials are compared by.

        Returns:
            Whether to go on; False where the search prunes this trial, and then `train` returns its model.

        Raises:
            OptionsError: another epoch, or no number.
            NonFiniteLossError: the loss is no finite number.
            StoppedError: the process received SIGTERM, and nothing saves a state.
        """
        progress = self._progress
        values = _numbers(metrics)
        if epoch != progress.epoch:
            raise OptionsError(
                f"trial.report: epoch {epoch} is reported and {progress.epoch} comes next; expected each epoch once, "
                "from 0; begin the loop with range(trial.epoch, trial.epochs)"
            )
        progress.epochs.append(values)
        _require_finite(self.monitor, values, epoch)
        progress.ended_ms.append(time.time_ns() // 1_000_000)
        self._hooks.on_epoch(epoch, dict(values), progress.ended_ms[-1])
        self._judge()
        progress.epoch += 1
        keeper = self._hooks.checkpoints
        if keeper is not None and keeper.stop_requested() and not self._saves:
            raise StoppedError(
                f"the process received SIGTERM after epoch {progress.epoch}; train() saves no state with "
                "trial.checkpoint(), so the same training begins anew"
            )
        return not self._stopped

    def checkpoint(self, *parts: Any) -> None:
        """Save the state after an epoch, where it is due: `training.checkpoint.every`, or the process must end.

        Args:
            parts: Keras models, optimizers and other objects with `variables`, always the same ones; a model's own
                optimizers are saved with it.

        Raises:
            StoppedError: the process received SIGTERM; the state is saved.
        """
        keeper, self._saves = self._hooks.checkpoints, True
        if keeper is None or self.training["checkpoint"] is None:
            return
        ending = keeper.stop_requested()
        if keeper.writes and (ending or self._due()):
            path = keeper.work / f"checkpoint-{os.getpid()}.npz"
            try:
                self._progress.seconds = time.monotonic() - self._began
                checkpoint.write_variables(path, self._progress, _variables(parts))
                keeper.save(path)
            except OSError as error:
                keeper.report_unusable(f"it could not be written: {error}")
            finally:
                path.unlink(missing_ok=True)
            self._saved_at = time.monotonic()
        if ending:
            raise StoppedError(
                f"the process received SIGTERM after epoch {self._progress.epoch}; the state is saved; start the same "
                "training again to resume from it"
            )

    def restore(self, *parts: Any) -> int:
        """Set what `checkpoint` saved of a training that was killed, and return the epoch to begin with; 0: a new one.

        Args:
            parts: as given to `checkpoint`; optimizers must be built.
        """
        keeper = self._hooks.checkpoints
        for path in keeper.candidates() if keeper and self.training["checkpoint"] else ():
            try:
                self._progress = checkpoint.read_variables(path, _variables(parts))
            except UNUSABLE as error:
                assert keeper is not None
                keeper.report_unusable(f"{type(error).__name__}: {error}")
                continue
            self._began = time.monotonic() - self._progress.seconds
            self._resumed, self._saves = (self._progress.epoch, 0), True
            self._hooks.on_resume(self._progress, -(-len(self._rows["train"][1]) // self.batch_size))
            break
        return self.epoch

    def history(self) -> dict[str, Any]:
        """What `training.fit.History` is made of."""
        done = self._progress
        return {
            "epochs": done.epochs,
            "monitor": self.monitor,
            "best_epoch": done.best_epoch,
            "stopped": self._stopped,
            "seconds": time.monotonic() - self._began,
            "resumed": self._resumed,
            "loop": "function",
        }

    @property
    def monitor(self) -> str:
        """The value that trials are compared by."""
        first = self._progress.epochs[0] if self._progress.epochs else {}
        return next((name for name in ("val_loss", "loss", *first) if name in first), "loss")

    def _judge(self) -> None:
        progress, last = self._progress, len(self._progress.epochs) - 1
        values = [values.get(self.monitor, math.nan) for values in progress.epochs]
        higher = self._higher(self.monitor)
        if last == 0 or is_better(values[last], values[progress.best_epoch], higher):
            progress.best_epoch = last
        median = self._medians[last] if last < len(self._medians) else None
        if median is not None and is_better(median, values[progress.best_epoch], higher):
            self._stopped = "pruned"

    def _due(self) -> bool:
        options = checkpoint_options(self.training["checkpoint"])
        return options.batches is not None or time.monotonic() - self._saved_at >= options.seconds


def checkpoint_options(given: Mapping[str, Any]) -> Any:
    """The option `training.checkpoint`."""
    from tidegate.models.config.training_parts import Checkpoint

    return Checkpoint.model_validate(given)


def _variables(parts: Sequence[Any]) -> list[Any]:
    found: list[Any] = checkpoint.global_seeds()
    for part in parts:
        found += part.variables
        for optimizer in checkpoint.optimizers_of(part):
            found += optimizer.variables
    return found


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    values = {}
    for name, value in metrics.items():
        try:
            values[name] = float(value)
        except (TypeError, ValueError) as error:
            raise OptionsError(
                f"trial.report: {name} is {type(value).__name__} {value!r}"[:200] + "; expected a number"
            ) from error
    if not values:
        raise OptionsError("trial.report: no value is given; expected at least one, such as loss=0.5")
    return values


def _require_finite(monitor: str, values: Mapping[str, float], epoch: int) -> None:
    if not math.isfinite(values.get(monitor, math.nan)):
        raise NonFiniteLossError(
            f"trial.report: {monitor} is {values.get(monitor, 'missing')} in epoch {epoch + 1}; expected a finite "
            "number in each epoch, by which the training is steered"
        )


def _require_split(split: str) -> None:
    if split not in SPLITS:
        raise OptionsError(
            f"trial: split {split!r}; expected one of: {', '.join(SPLITS)}; test rows stay unseen until the end"
        )
