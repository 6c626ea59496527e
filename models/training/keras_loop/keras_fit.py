"""A training by Keras' own `fit`: of models that train by themselves, and with callbacks of the user's.

The rows come in the same order as in our loops; checkpoints, reports and pruning are callbacks. A killed training
resumes at the batch; at the epoch where the optimizer averages weights, because `fit` ends by writing the average, and
where a step creates metrics.
"""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tidegate.models.config.monitors import require_monitor
from tidegate.models.errors import ModelsError, NonFiniteLossError, StoppedError, UserCodeError, one_line
from tidegate.models.training import checkpoint
from tidegate.models.training.callbacks import keras_callbacks
from tidegate.models.training.checkpoint import TrainingProgress
from tidegate.models.training.epoch_loop import SECONDS_A_REPORT, EpochLoop
from tidegate.models.training.keras_loop.keras_rows import KerasRows, callback_list
from tidegate.models.user_code.project import line_in_project

UNUSABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


class _UnusableError(Exception):
    """A checkpoint cannot be used; the model is as it was."""


@dataclass
class KerasFit(EpochLoop):
    """One training by `model.fit`.

    Attributes:
        held_out: inputs in the form that the model takes, and target; None: there are no held-out rows.
        own_callbacks: the user's.
    """

    held_out: tuple[Any, ...] | None = None
    own_callbacks: Sequence[Any] = ()
    _start: int = 0  # batches that the present call of `fit` does not see
    _reported: float = 0.0
    _metrics: list[np.ndarray] = field(default_factory=list)
    _before: int | None = None  # variables of metrics before the first batch

    def run(self) -> TrainingProgress:
        """Train to the end, from the newest checkpoint where there is one; see `EpochLoop.run`."""
        checkpoint.global_seeds()
        checkpoints = self.hooks.checkpoints if self.options.checkpoint else None
        for path in [*(checkpoints.candidates() if checkpoints else ()), None]:
            try:
                self._train_from(path)
                break
            except _UnusableError as error:
                assert checkpoints is not None
                checkpoints.report_unusable(str(error))
                self.progress = TrainingProgress()
        self.progress.seconds = time.monotonic() - self._began
        return self.progress

    @property
    def monitor(self) -> str:
        """The value that early stopping, plateaus and pruning monitor: stated, or the first that the epochs have."""
        stopping = self.options.early_stopping
        if stopping is not None and stopping.monitor is not None:
            return stopping.monitor
        values = self.progress.epochs[0] if self.progress.epochs else {}
        return next((name for name in ("val_loss", "loss", *values) if name in values), "loss")

    @property
    def by_batch(self) -> bool:
        """Whether it resumes at the batch: no average is written, and no step creates metrics of its own."""
        created = self._before is not None and self._before != len(self.model.metrics_variables)
        return not created and not getattr(self.model.optimizer, "use_ema", False)

    def _train_from(self, path: Path | None) -> None:
        """Call `fit` once; twice from within an epoch: the rest of that epoch has fewer batches than the others."""
        self._prepare(path)
        rows, first, epochs = self.loop, self.progress.epoch, self.options.epochs
        assert isinstance(rows, KerasRows)
        own = [*self.own_callbacks, *keras_callbacks(self.options, self.held_out is not None, None)]
        self.callbacks = SimpleNamespace(callbacks=own)
        listed = callback_list(
            [self._first(), *own, self._reporter(path)], self.model, epochs, rows.batches, lambda: self._start
        )
        if self._start:
            self._fit(rows.epochs(first, self._start), listed, first, first + 1)
            first += 1
        if not self.stopped:
            self._fit(rows.epochs(first), listed, first, epochs)
        with self._told():
            listed.end_training(dict(self.progress.epochs[-1]))

    def _prepare(self, path: Path | None) -> None:
        if path is not None:
            try:
                self.progress = checkpoint.read_progress(path)
            except UNUSABLE as error:
                raise _UnusableError(f"{type(error).__name__}: {error}") from error
        self._start = self.progress.batch
        self._saved_at, self._pause = time.monotonic(), self._least_pause()
        self._began = time.monotonic() - self.progress.seconds

    def _fit(self, rows: Any, callbacks: Any, first: int, end: int) -> None:
        with self._told():
            self.model.fit(
                rows,
                epochs=end,
                initial_epoch=first,
                callbacks=callbacks,
                validation_data=self.held_out,
                validation_batch_size=self.options.batch_size,
                shuffle=False,
                verbose=0,
            )

    def _reporter(self, path: Path | None) -> Any:
        """The last callback: when it is called, the others have been."""
        import keras

        return keras.callbacks.LambdaCallback(
            on_train_begin=partial(self._restore, path),
            on_epoch_begin=self._begin_epoch,
            on_train_batch_end=self._end_batch,
            on_epoch_end=self._end_epoch,
        )

    def _restore(self, path: Path | None, _: Any = None) -> None:
        self._before = len(self.model.metrics_variables)
        if path is None:
            return
        try:
            self.progress = checkpoint.read(path, self.model, self.loop, self.callbacks)
        except UNUSABLE as error:
            raise _UnusableError(f"{type(error).__name__}: {error}") from error
        self._metrics = [np.array(variable) for variable in self.model.metrics_variables]
        self.resumed = (self.progress.epoch, self.progress.batch)
        self.hooks.on_resume(self.progress, self.loop.batches)

    def _begin_epoch(self, *_: Any) -> None:
        """Within an epoch its metrics go on from where they were; `fit` has just reset them."""
        for variable, value in zip(self.model.metrics_variables, self._metrics, strict=False):
            if self._start:
                variable.assign(value)
        self._metrics, self._reported = [], time.monotonic()

    def _end_batch(self, batch: int, logs: Any = None) -> None:
        progress, batches = self.progress, self.loop.batches
        progress.batch = batch + 1
        losses = {name: value for name, value in (logs or {}).items() if name.endswith("loss")}
        if not all(np.all(np.isfinite(value)) for value in losses.values()):
            raise NonFiniteLossError.at(progress.epoch, batch, batches)
        if progress.batch == batches:
            return  # what is saved, and reported, comes with the epoch
        if progress.batch == 1 and self._before != len(self.model.metrics_variables):
            self.hooks.on_loop(
                "a killed training resumes at the epoch, because the first batch created metrics"
            )
        if self.by_batch:
            self._save_if_due()
        elif self.hooks.checkpoints is not None and self.hooks.checkpoints.stop_requested():
            raise StoppedError(
                f"the process received SIGTERM in epoch {progress.epoch + 1}; this model's state can only be "
                "saved after an epoch; start the same training again to resume from there"
            )
        if time.monotonic() - self._reported >= SECONDS_A_REPORT:
            self.hooks.on_batch(progress.epoch, progress.batch, batches)
            self._reported = time.monotonic()

    def _end_epoch(self, _: int, logs: Any = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
        self._require_finite(values)
        self._record(values)
        self._start = 0
        self.model.stop_training = bool(self.stopped)
        if not self.stopped:
            self._save_if_due()

    def _first(self) -> Any:
        """The first callback, before those that monitor a value."""
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs=None: self._require_monitors(logs))

    def _require_monitors(self, values: Mapping[str, float]) -> None:
        """Refuse a monitored value that the first epoch does not have: only the user's own step knows its names."""
        names = [name for name in values if not name.startswith("val_")]
        stopping, plateau = self.options.early_stopping, self.options.learning_rate_schedule
        for key, part in (("early_stopping", stopping), ("learning_rate_schedule", plateau)):
            monitor = getattr(part, "monitor", None)
            if monitor is not None and monitor not in values:
                require_monitor(monitor, names, self.held_out is not None, f"training.{key}.monitor")

    def save(self, checkpoints: checkpoint.CheckpointManager) -> None:
        """Write a checkpoint, with the variables as they are now."""
        sync = getattr(self.model, "jax_state_sync", None)
        if sync is not None:
            sync()  # on JAX the variables are elsewhere during an epoch
        super().save(checkpoints)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the user's steps and callbacks name their line, and the batch."""
        try:
            yield
        except (ModelsError, _UnusableError):
            raise
        except (Exception, SystemExit) as error:
            place = line_in_project(error.__traceback__)
            if not place and isinstance(error, Exception):
                raise self._failed(error) from error
            raise UserCodeError(
                f"{place}: Keras' fit raised {type(error).__name__} in epoch {self.progress.epoch + 1}, batch "
                f"{self.progress.batch + 1} of {self.loop.batches}: {one_line(error)[:500] or 'no message'}"
            ) from error
