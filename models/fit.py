"""Train a model: the epochs, what is reported of each, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.build import repeatable
from models.callbacks import callbacks_for, higher_is_better, is_better
from models.compile import compile_model
from models.errors import NonFiniteLossError, TrainingError
from models.inputs import inputs_of
from models.loop import Loop, xla_pays
from models.losses import Loss, encode_target, row_weights
from models.numpy_fit import NumpyLoop, numpy_loops
from models.options import parse_options
from models.training import Training

Rows = tuple[Mapping[str, np.ndarray], np.ndarray]
OnEpoch = Callable[[int, dict[str, float], int], None]
OnBatch = Callable[[int, int, int], None]

SECONDS_A_REPORT = 0.5
ROWS_A_VALIDATION_BATCH = 1024


@dataclass
class History:
    """What a training was.

    Attributes:
        epochs: the values of each finished epoch: loss, metrics, val_loss; learning_rate under a schedule.
        monitor: the value that early stopping, plateaus and pruning watched.
        best_epoch: index of the epoch with the best monitored value.
        stopped: "" after all epochs, "early" by early stopping, "pruned" by the medians.
        seconds: wall time, from compiling to the last epoch.
        xla: whether the loop was compiled with XLA.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    monitor: str = "loss"
    best_epoch: int = 0
    stopped: str = ""
    seconds: float = 0.0
    xla: bool = False


def fit(
    model: Any,
    train: Rows,
    validation: Rows | None,
    training: Mapping[str, Any],
    *,
    task: str,
    classes: Sequence[Any],
    seed: int,
    on_epoch: OnEpoch | None = None,
    on_batch: OnBatch | None = None,
    medians: Sequence[float | None] | None = None,
) -> History:
    """Train `model` in place and return what happened.

    On the CPU the same model, rows, settings and seed give the same weights to the bit.

    Args:
        model: from `build_model`, with outputs for the same loss.
        train: model inputs by name (rows, ...) and int64 class indices (rows,) or float32
            numbers (rows, values).
        validation: the same of other rows; None or no rows: none.
        training: the experiment's `training` part, see `Training`.
        task: "classification" or "regression".
        classes: the target's classes in the order of their indices; empty for regression.
        seed: seeds the order of rows and everything random in the model.
        on_epoch: called with the epoch from 0, its values, and the time it ended in ms since 1970.
        on_batch: called with epoch, batches done and batches an epoch, at most twice a second.
        medians: other trials' best monitored value at each epoch, see `search.medians`; None: no rule.

    Raises:
        OptionsError: a setting is unknown, wrong, or does not fit the model.
        NonFiniteLossError: the loss became NaN or infinite.
        TrainingError: TensorFlow could not run a batch.
    """
    began = time.perf_counter()
    options = parse_options(Training, training, "training")
    repeatable(seed)
    batches = -(-len(train[1]) // options.batch_size)
    held_out = validation if validation is not None and len(validation[1]) else None
    loss = compile_model(model, train, options, task, len(classes), batches)
    weights = row_weights(options.class_weights, train[1], classes)

    def rows(part: Rows, row_weight: np.ndarray | None = None) -> tuple[Any, ...]:
        data = (inputs_of(model, part[0]), encode_target(loss.target, part[1], len(classes)))
        return data if row_weight is None else (*data, row_weight)

    xla = _xla(model, options, batches)
    loop, check = _loops(model, rows(train, weights), held_out and rows(held_out), options, loss, seed, xla)
    course = _Course(
        model=model,
        options=options,
        seed=seed,
        loop=loop,
        check=check,
        on_epoch=on_epoch or (lambda *_: None),
        on_batch=on_batch or (lambda *_: None),
        medians=medians or (),
    )
    history = course.run()
    history.seconds, history.xla = time.perf_counter() - began, xla
    return history


def _xla(model: Any, options: Training, batches: int) -> bool:
    if options.backend == "numpy":
        return False
    return xla_pays(model, batches * options.epochs) if options.xla is None else options.xla


def _loops(
    model: Any,
    train: tuple[Any, ...],
    held_out: tuple[Any, ...] | None,
    options: Training,
    loss: Loss,
    seed: int,
    xla: bool,
) -> tuple[Loop | NumpyLoop, Loop | NumpyLoop | None]:
    """What goes through the training rows and the held-out rows."""
    if options.backend == "numpy":
        return numpy_loops(model, train, held_out, options.batch_size, loss, seed)
    check = None if held_out is None else Loop(model.test_step, held_out, ROWS_A_VALIDATION_BATCH)
    return Loop(model.train_step, train, options.batch_size, xla), check


@dataclass
class _Course:
    """One training, epoch by epoch."""

    model: Any
    options: Training
    seed: int
    loop: Loop | NumpyLoop
    check: Loop | NumpyLoop | None
    on_epoch: OnEpoch
    on_batch: OnBatch
    medians: Sequence[float | None]

    def run(self) -> History:
        history = History(monitor=self._monitor())
        callbacks = callbacks_for(self.model, self.options, self.check is not None)
        callbacks.on_train_begin()
        for epoch in range(self.options.epochs):
            values = self._epoch(epoch)
            callbacks.on_epoch_end(epoch, values)
            history.epochs.append(values)
            self.on_epoch(epoch, dict(values), time.time_ns() // 1_000_000)
            self._judge(history)
            if history.stopped:
                break
        self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
        callbacks.on_train_end()
        return history

    def _monitor(self) -> str:
        stopping = self.options.early_stopping
        default = "loss" if self.check is None else "val_loss"
        return (stopping and stopping.monitor) or default

    def _epoch(self, epoch: int) -> dict[str, float]:
        order = np.random.default_rng([self.seed, epoch]).permutation(self.loop.rows).astype(np.int32)
        values = self._pass(self.loop, order, epoch)
        if self.options.learning_rate_schedule is not None:
            values["learning_rate"] = float(self.model.optimizer.learning_rate)
        if self.check is not None:
            checked = self._pass(self.check, None, epoch)
            values |= {f"val_{name}": value for name, value in checked.items()}
        return values

    def _pass(self, loop: Loop | NumpyLoop, order: np.ndarray | None, epoch: int) -> dict[str, float]:
        import tensorflow as tf

        self.model.reset_metrics()
        reported = time.monotonic()
        try:
            for done, bad in loop.run(order):
                if order is not None and bad is not None:
                    raise _not_finite(epoch, bad, loop.batches)
                if order is not None and time.monotonic() - reported >= SECONDS_A_REPORT:
                    self.on_batch(epoch, done, loop.batches)
                    reported = time.monotonic()
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise _failed(epoch, error) from error
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _judge(self, history: History) -> None:
        values = [epoch[history.monitor] for epoch in history.epochs]
        higher, last = higher_is_better(history.monitor), len(values) - 1
        if last == 0 or is_better(values[last], values[history.best_epoch], higher):
            history.best_epoch = last
        median = self.medians[last] if last < len(self.medians) else None
        if self.model.stop_training:
            history.stopped = "early"
        elif median is not None and is_better(median, values[history.best_epoch], higher):
            history.stopped = "pruned"


def _not_finite(epoch: int, batch: int, batches: int) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"The loss became NaN or infinite in epoch {epoch + 1}, batch {batch + 1} of {batches}. Expected a "
        "finite number. Lower training.optimizer.learning_rate, set clipnorm: 1.0 there, or look for "
        "extreme values in the data."
    )


def _failed(epoch: int, error: Exception) -> TrainingError:
    cause = " ".join(str(error).split())[:500]
    return TrainingError(
        f"TensorFlow could not run a batch of epoch {epoch + 1}: {type(error).__name__}: {cause} Where "
        "memory is short, lower training.batch_size; otherwise the model does not fit its data."
    )
