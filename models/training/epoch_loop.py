"""The course of one training, epoch by epoch: what it reports, where it keeps its state, when it stops."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.models.config.training import Training
from tidegate.models.distributed.devices import BACKEND_NAMES
from tidegate.models.distributed.process_group import Group, member_lost_error
from tidegate.models.errors import NonFiniteLossError, StoppedError, TrainingError
from tidegate.models.loops import Loop
from tidegate.models.loops.streamed import StreamedLoop
from tidegate.models.training import checkpoint
from tidegate.models.training.callbacks import callbacks_for, higher_is_better, is_better
from tidegate.models.training.checkpoint import CheckpointManager, TrainingProgress

OnEpoch = Callable[[int, dict[str, float], int], None]
OnBatch = Callable[[int, int, int], None]
OnResume = Callable[[TrainingProgress, int], None]

SECONDS_A_REPORT = 0.5
COST = 0.01  # part of the time that checkpoints may take: rarer ones, where each is slow


@dataclass
class Hooks:
    """Who is told how a training goes, and who keeps its state.

    Attributes:
        on_epoch: called with the epoch from 0, its values, and the time it ended in ms since 1970.
        on_batch: called with epoch, batches done and batches an epoch, at most twice a second.
        on_resume: called with the progress a killed training had made, and the batches an epoch.
        keeper: keeps checkpoints; None: nobody does.
        group: the processes that train together; None: this one alone.
    """

    on_epoch: OnEpoch = lambda *_: None
    on_batch: OnBatch = lambda *_: None
    on_resume: OnResume = lambda *_: None
    checkpoints: CheckpointManager | None = None
    group: Group | None = None

    def with_heartbeats(self, calls: Iterator[tuple[int, int | None]]) -> Iterator[tuple[int, int | None]]:
        """The same calls of a loop; the group hears when each begins and when it is done."""
        return calls if self.group is None else self.group.with_heartbeats(calls)


@dataclass
class EpochLoop:
    """One training.

    Attributes:
        model, options, seed: see `training.fit.fit`.
        loop, check: what goes through the training rows and the held-out rows.
        watch: who is told.
        medians: see `training.fit.fit`.
        order: draws an epoch's rows; None: each once.
        stopped: "" after all epochs, "early" by early stopping, "pruned" by the medians.
        resumed: epoch and batch it went on from, both from 0; None: it began at the beginning.
    """

    model: Any
    options: Training
    seed: int
    loop: Loop
    check: Loop | None
    hooks: Hooks
    medians: Sequence[float | None]
    order: Callable[[np.random.Generator], np.ndarray] | None = None
    stopped: str = ""
    resumed: tuple[int, int] | None = None
    progress: TrainingProgress = field(default_factory=TrainingProgress)

    def run(self) -> TrainingProgress:
        """Train to the end, from the newest checkpoint where there is one.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite.
            StoppedError: the keeper says that the process is to end; the state is kept.
            MemberLostError: another process of the group is gone.
            TrainingError: the framework could not run a batch.
        """
        checkpoint.global_seeds()
        self.callbacks = callbacks_for(self.model, self.options, self.check is not None)
        self.callbacks.on_train_begin()
        self._resume()
        self._kept_at, self._pause = time.monotonic(), self._least_pause()
        self._began = time.monotonic() - self.progress.seconds
        while not self.stopped and self.progress.epoch < self.options.epochs:
            self._epoch()
        self.progress.seconds = time.monotonic() - self._began
        self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
        self.callbacks.on_train_end()
        return self.progress

    @property
    def monitor(self) -> str:
        """The value that early stopping, plateaus and pruning watch."""
        stopping = self.options.early_stopping
        default = "loss" if self.check is None else "val_loss"
        return (stopping and stopping.monitor) or default

    def _epoch(self) -> None:
        progress = self.progress
        if progress.values is None:
            progress.values = self._learn()
        values = dict(progress.values)
        if self.options.learning_rate_schedule is not None:
            values["learning_rate"] = float(self.model.optimizer.learning_rate)
        if self.check is not None:
            values |= {f"val_{name}": value for name, value in self._validate(self.check).items()}
        self.callbacks.on_epoch_end(progress.epoch, values)
        progress.epochs.append(values)
        progress.ended_ms.append(time.time_ns() // 1_000_000)
        self.hooks.on_epoch(progress.epoch, dict(values), progress.ended_ms[-1])
        self._judge()
        progress.epoch, progress.batch, progress.values = progress.epoch + 1, 0, None

    def _learn(self) -> dict[str, float]:
        """The rest of the training rows, in the epoch's own order."""
        progress, loop = self.progress, self.loop
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
                    raise _not_finite(progress.epoch, bad, loop.batches)
                progress.batch = done
                self._keep_if_due()
                # The last one is told by the epoch's end.
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
                    self._keep_if_due()
        except check.errors as error:
            raise self._failed(error) from error
        return self._values()

    def _values(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _judge(self) -> None:
        progress, last = self.progress, len(self.progress.epochs) - 1
        values = [epoch[self.monitor] for epoch in progress.epochs]
        higher = higher_is_better(self.monitor)
        if last == 0 or is_better(values[last], values[progress.best_epoch], higher):
            progress.best_epoch = last
        median = self.medians[last] if last < len(self.medians) else None
        if self.model.stop_training:
            self.stopped = "early"
        elif median is not None and is_better(median, values[progress.best_epoch], higher):
            self.stopped = "pruned"

    def _least_pause(self) -> float:
        return self.options.checkpoint.seconds if self.options.checkpoint else 0.0

    def _keep_if_due(self) -> None:
        """Keep the state every so many batches or seconds, and when the process is to end."""
        checkpoints, options = self.hooks.checkpoints, self.options.checkpoint
        if checkpoints is None or options is None:
            return
        ending = checkpoints.stop_requested()
        if options.batches:
            due = self.progress.batch % options.batches == 0
        else:
            due = time.monotonic() - self._kept_at >= self._pause
        if (due or ending) and checkpoints.writes:
            self._keep(checkpoints)
        if ending:
            raise StoppedError(
                f"The process was told to end in epoch {self.progress.epoch + 1}, after batch "
                f"{self.progress.batch} of {self.loop.batches}. The state is kept: the same training goes on from it."
            )

    def _keep(self, checkpoints: CheckpointManager) -> None:
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
        self._kept_at = time.monotonic()
        self._pause = max(self._least_pause(), (self._kept_at - began) / COST)

    def _resume(self) -> None:
        """Go on from the newest checkpoint that is whole and of this training."""
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
        gone = member_lost_error(self.hooks.group, error)
        if gone is not None:
            return gone
        cause = " ".join(str(error).split())[:500]
        return TrainingError(
            f"{BACKEND_NAMES[self.options.backend]} could not run a batch of epoch {self.progress.epoch + 1}: "
            f"{type(error).__name__}: {cause} Where memory is short, lower training.batch_size; otherwise the "
            "model does not fit its data."
        )


def _not_finite(epoch: int, batch: int, batches: int) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"The loss became NaN or infinite in epoch {epoch + 1}, batch {batch + 1} of {batches}. Expected a "
        "finite number. Lower training.optimizer.learning_rate, set clipnorm: 1.0 there, or look for "
        "extreme values in the data."
    )
