"""One training, epoch by epoch: progress reports, checkpoints, and when it stops."""

from __future__ import annotations

import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from tidegate.models.config.own_metrics import higher_is_better
from tidegate.models.config.training import Training
from tidegate.models.distributed.devices import BACKEND_NAMES
from tidegate.models.distributed.process_group import Group, member_lost_error
from tidegate.models.errors import NonFiniteLossError, StoppedError, TrainingError, one_line
from tidegate.models.loops import EpochsLoop, Loop, LoopState
from tidegate.models.loops.streamed import StreamedLoop
from tidegate.models.training import checkpoint
from tidegate.models.training.callbacks import callbacks_for, is_better
from tidegate.models.training.checkpoint import CheckpointManager, TrainingProgress

OnEpoch = Callable[[int, dict[str, float], int], None]
OnBatch = Callable[[int, int, int], None]
OnResume = Callable[[TrainingProgress, int], None]

SECONDS_A_REPORT = 0.5
COST = 0.01  # fraction of the time that checkpoints may take; slow ones are written less often


@dataclass
class Hooks:
    """Callbacks for progress, and where the state is saved.

    Attributes:
        on_epoch: called with the epoch from 0, its values, and the time it ended in ms since 1970.
        on_batch: called with the epoch, batches done and batches per epoch, at most twice a second.
        on_resume: called with the progress of a killed training, and the batches per epoch.
        on_loop: called with how Keras' own loop trains, in words, where it does.
        checkpoints: saves the state; None: it is not saved.
        group: the processes that train together; None: this one alone.
    """

    on_epoch: OnEpoch = lambda *_: None
    on_batch: OnBatch = lambda *_: None
    on_resume: OnResume = lambda *_: None
    on_loop: Callable[[str], None] = lambda _: None
    checkpoints: CheckpointManager | None = None
    group: Group | None = None

    def with_heartbeats(self, calls: Iterator[tuple[int, int | None]]) -> Iterator[tuple[int, int | None]]:
        """The same calls of a loop; the group gets a heartbeat when each begins and ends."""
        return calls if self.group is None else self.group.with_heartbeats(calls)


@dataclass
class EpochLoop:
    """One training.

    Attributes:
        model, options, seed, medians: see `training.fit.fit`.
        loop, check: the loops over the training rows and the held-out rows.
        hooks: callbacks and checkpoints.
        order: draws an epoch's rows; None: a permutation.
        last_only: whether nobody asks for the values of epochs before the last one.
        stopped: "" after all epochs, "early" by early stopping, "pruned" by the medians.
        resumed: epoch and batch that it resumed from, both from 0; None: it started from the beginning.
    """

    model: Any
    options: Training
    seed: int
    loop: LoopState
    check: Loop | None
    hooks: Hooks
    medians: Sequence[float | None]
    order: Callable[[np.random.Generator], np.ndarray] | None = None
    last_only: bool = False
    stopped: str = ""
    resumed: tuple[int, int] | None = None
    progress: TrainingProgress = field(default_factory=TrainingProgress)

    def run(self) -> TrainingProgress:
        """Train to the end, from the newest checkpoint where there is one.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite.
            StoppedError: the process received SIGTERM; the state is saved.
            MemberLostError: another process of the group was lost.
            TrainingError: the framework could not run a batch.
        """
        checkpoint.global_seeds()
        self.callbacks = callbacks_for(self.model, self.options, self.check is not None)
        self.callbacks.on_train_begin()
        self._resume()
        self._saved_at, self._pause = time.monotonic(), self._least_pause()
        self._began = time.monotonic() - self.progress.seconds
        while not self.stopped and self.progress.epoch < self.options.epochs:
            if self._many_a_call():
                self._epochs()
            self._epoch()
        self.progress.seconds = time.monotonic() - self._began
        self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
        self.callbacks.on_train_end()
        return self.progress

    @property
    def monitor(self) -> str:
        """The value that early stopping, plateaus and pruning monitor."""
        stopping = self.options.early_stopping
        default = "loss" if self.check is None else "val_loss"
        return (stopping and stopping.monitor) or default

    def _many_a_call(self) -> bool:
        """Whether nothing looks at the model between two epochs, and the loop runs many of them in one call."""
        progress, kept = self.progress, self.options.checkpoint
        watched = self.callbacks.callbacks or self.medians or self.order or self.hooks.group
        watched = watched or progress.batch or progress.values or (kept and kept.batches)
        return self.last_only and not watched and getattr(self.loop, "runs_epochs", False)

    def _epochs(self) -> None:
        """Train to the end of the last epoch, and take its values, as long as an epoch fits a call."""
        progress, last = self.progress, self.options.epochs - 1
        self.model.reset_metrics()
        while progress.epoch < last and getattr(self.loop, "runs_epochs", False):
            progress.epoch += self._run_epochs(last - progress.epoch)
            self._save_if_due()
        if progress.epoch == last and getattr(self.loop, "runs_epochs", False):
            self.model.reset_metrics()
            self._run_epochs(1)
            progress.batch, progress.values = self.loop.batches, self._values()

    def _run_epochs(self, most: int) -> int:
        """Train some epochs in one call; return their number."""
        first, loop = self.progress.epoch, cast(EpochsLoop, self.loop)
        try:
            count, bad = loop.run_epochs(lambda epoch: self._order(first + epoch), most)
        except loop.errors as error:
            raise self._failed(error) from error
        if bad is not None:
            raise NonFiniteLossError.at(first + bad // loop.batches, bad % loop.batches, loop.batches)
        return count

    def _epoch(self) -> None:
        progress = self.progress
        if progress.values is None:
            progress.values = self._train()
        values = dict(progress.values)
        if self.options.learning_rate_schedule is not None:
            values["learning_rate"] = float(self.model.optimizer.learning_rate)
        if self.check is not None:
            values |= {f"val_{name}": value for name, value in self._validate(self.check).items()}
        self._require_finite(values)
        self.callbacks.on_epoch_end(progress.epoch, values)
        self._record(values)

    def _record(self, values: dict[str, float]) -> None:
        """Report an epoch's values, decide whether to stop, and go on to the next one."""
        progress = self.progress
        progress.epochs.append(values)
        progress.ended_ms.append(time.time_ns() // 1_000_000)
        self.hooks.on_epoch(progress.epoch, dict(values), progress.ended_ms[-1])
        self._decide()
        progress.epoch, progress.batch, progress.values = progress.epoch + 1, 0, None

    def _require_finite(self, values: dict[str, float]) -> None:
        """Refuse to continue by a value that is no number; others may be undefined, such as R2 of equal values."""
        name = next(
            (one for one in ("val_loss", self.monitor) if not math.isfinite(values.get(one, 0.0))), None
        )
        if name is not None:
            raise NonFiniteLossError(
                f"{name} is {values[name]} in epoch {self.progress.epoch + 1}; expected a finite number, by which the "
                "training is steered; lower training.optimizer.learning_rate, look for extreme values in the "
                "validation rows, or monitor another value"
            )

    def _train(self) -> dict[str, float]:
        """Train on the rest of the epoch's rows, in the epoch's own order."""
        progress, loop = self.progress, cast(Loop, self.loop)
        order = self._order(progress.epoch)
        if isinstance(loop, StreamedLoop) and progress.epoch + 1 < self.options.epochs:
            loop.prefetch(self._order(progress.epoch + 1))
        if progress.batch == 0:
            self.model.reset_metrics()
        reported = time.monotonic()
        every = (
            self.options.checkpoint.batches if self.options.checkpoint and self.hooks.checkpoints else None
        )
        try:
            for done, bad in self.hooks.with_heartbeats(loop.run(order, progress.batch, every)):
                if bad is not None:
                    raise NonFiniteLossError.at(progress.epoch, bad, loop.batches)
                progress.batch = done
                self._save_if_due()
                # The last batch is reported with the epoch.
                if done < loop.batches and time.monotonic() - reported >= SECONDS_A_REPORT:
                    self.hooks.on_batch(progress.epoch, done, loop.batches)
                    reported = time.monotonic()
        except loop.errors as error:
            raise self._failed(error) from error
        return self._values()

    def _order(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng([self.seed, epoch])
        return self.order(generator) if self.order else generator.permutation(self.loop.rows).astype(np.int32)

    def _validate(self, check: Loop) -> dict[str, float]:
        self.model.reset_metrics()
        try:
            for _ in self.hooks.with_heartbeats(check.run()):
                if self.hooks.checkpoints and self.hooks.checkpoints.stop_requested():
                    self._save_if_due()
        except check.errors as error:
            raise self._failed(error) from error
        return self._values()

    def _values(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _decide(self) -> None:
        """Update the best epoch, and decide whether to stop."""
        progress, last = self.progress, len(self.progress.epochs) - 1
        values = [epoch[self.monitor] for epoch in progress.epochs]
        higher = higher_is_better(self.monitor, self.options.metrics)
        if last == 0 or is_better(values[last], values[progress.best_epoch], higher):
            progress.best_epoch = last
        median = self.medians[last] if last < len(self.medians) else None
        if self.model.stop_training:
            self.stopped = "early"
        elif median is not None and is_better(median, values[progress.best_epoch], higher):
            self.stopped = "pruned"

    def _least_pause(self) -> float:
        return self.options.checkpoint.seconds if self.options.checkpoint else 0.0

    def _save_if_due(self) -> None:
        """Save the state after the stated number of batches or seconds, and when the process must end."""
        checkpoints, options = self.hooks.checkpoints, self.options.checkpoint
        if checkpoints is None or options is None:
            return
        ending = checkpoints.stop_requested()
        if options.batches:
            due = self.progress.batch % options.batches == 0
        else:
            due = time.monotonic() - self._saved_at >= self._pause
        if (due or ending) and checkpoints.writes:
            self.save(checkpoints)
        if ending:
            raise StoppedError(
                f"the process received SIGTERM in epoch {self.progress.epoch + 1}, after batch "
                f"{self.progress.batch} of {self.loop.batches}; the state is saved; start the same training again to "
                "resume from it"
            )

    def save(self, checkpoints: CheckpointManager) -> None:
        """Write a checkpoint with everything that the training goes on from."""
        began = time.monotonic()
        self.progress.seconds = began - self._began
        path = checkpoints.work / f"checkpoint-{os.getpid()}.npz"
        try:
            checkpoint.write(path, self.progress, self.model, self.loop, self.callbacks)
            checkpoints.save(path)
        except OSError as error:
            checkpoints.report_unusable(f"it could not be written: {error}")
        finally:
            path.unlink(missing_ok=True)
        self._saved_at = time.monotonic()
        self._pause = max(self._least_pause(), (self._saved_at - began) / COST)

    def _resume(self) -> None:
        """Resume from the newest complete checkpoint of this training."""
        checkpoints = self.hooks.checkpoints if self.options.checkpoint else None
        if checkpoints is None:
            return
        for path in checkpoints.candidates():
            try:
                self.progress = checkpoint.read(path, self.model, self.loop, self.callbacks)
            except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                checkpoints.report_unusable(f"{type(error).__name__}: {error}")
                continue
            self.resumed = (self.progress.epoch, self.progress.batch)
            self.hooks.on_resume(self.progress, self.loop.batches)
            return

    def _failed(self, error: Exception) -> TrainingError:
        lost = member_lost_error(self.hooks.group, error)
        if lost is not None:
            return lost
        cause = one_line(error)[:500]
        return TrainingError(
            f"{BACKEND_NAMES[self.options.backend]} could not run a batch of epoch {self.progress.epoch + 1}: "
            f"{type(error).__name__}: {cause}; expected a model that fits its data and the memory; if memory is short, "
            "lower training.batch_size"
        )
