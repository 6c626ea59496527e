"""Train a model: the epochs, what is reported of each, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.models.config.losses import class_weights, encode_target
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training, keras_backend
from tidegate.models.data.default_boxes import Grid
from tidegate.models.distributed.process_group import Group
from tidegate.models.errors import OptionsError
from tidegate.models.families.build import repeatable
from tidegate.models.loops import Parts, make_loops
from tidegate.models.loops.dp_sgd import Sampling, require_plain, spent
from tidegate.models.loops.streamed import Streamed
from tidegate.models.loops.tensorflow import xla_pays
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.preprocessing.windows import Windows
from tidegate.models.training.augmentation import augmented
from tidegate.models.training.checkpoint import Keeper
from tidegate.models.training.compile import compile_model
from tidegate.models.training.epoch_loop import Course, OnBatch, OnEpoch, OnResume, Watch

Rows = tuple[Mapping[str, np.ndarray], np.ndarray]


@dataclass
class History:
    """What a training was.

    Attributes:
        epochs: the values of each finished epoch: loss, metrics, val_loss; learning_rate under a schedule.
        monitor: the value that early stopping, plateaus and pruning watched.
        best_epoch: index of the epoch with the best monitored value.
        stopped: "" after all epochs, "early" by early stopping, "pruned" by the medians.
        seconds: wall time, from the first batch to the last; before it was killed too.
        xla: whether the loop was compiled with XLA.
        batches_a_call: how many batches a call was found to do best in the end; changes no result.
        epsilon: what `training.privacy` has spent; None without.
        resumed: epoch and batch that a killed training went on from, both from 0; None: it was not killed.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    monitor: str = "loss"
    best_epoch: int = 0
    stopped: str = ""
    seconds: float = 0.0
    xla: bool = False
    batches_a_call: int = 1
    epsilon: float | None = None
    resumed: tuple[int, int] | None = None


def fit(
    model: Any,
    train: Rows | Windows,
    validation: Rows | None,
    training: Mapping[str, Any],
    *,
    task: str,
    classes: Sequence[Any],
    seed: int,
    images: Sequence[str] = (),
    grids: Sequence[Grid] = (),
    on_epoch: OnEpoch | None = None,
    on_batch: OnBatch | None = None,
    on_resume: OnResume | None = None,
    keeper: Keeper | None = None,
    medians: Sequence[float | None] | None = None,
    gpus: int = 0,
    group: Group | None = None,
) -> History:
    """Train `model` in place and return what happened.

    On the CPU the same model, rows, settings and seed give the same weights to the bit; with a keeper also when it is
    killed at any moment and called again. Call it within `families.build.computing_in` where the precision is float64.

    Args:
        model: from `build_model`, with outputs for the same loss.
        train: model inputs by name (rows, ...) and int64 class indices (rows,) or float32
            numbers (rows, values); or rows that stay on the disk.
        validation: the same of other rows; None or no rows: none.
        training: the experiment's `training` part, see `Training`.
        task: "classification", "regression", "generation" or "detection".
        classes: the target's classes in the order of their indices; empty for regression.
        seed: seeds the order of rows and everything random in the model.
        images: names of the inputs that are images, which `training.augmentation` changes.
        grids: of the boxes that the model answers, which change with an image.
        on_epoch: called with the epoch from 0, its values, and the time it ended in ms since 1970.
        on_batch: called with epoch, batches done and batches an epoch, at most twice a second.
        on_resume: called with what a killed training had done before, and the batches an epoch.
        keeper: keeps the state as `training.checkpoint` says; None: nobody does.
        medians: other trials' best monitored value at each epoch, see `search.medians`; None: no rule.
        gpus: devices of this process that share each batch, see `distributed.jax_sharding` and
            `distributed.tensorflow_replicas`; 0: one, or on JAX what CPUs there are.
        group: the other processes that share each batch, all called with the same arguments; None: none.

    Raises:
        OptionsError: a setting is unknown, wrong, or does not fit the model.
        NonFiniteLossError: the loss became NaN or infinite.
        StoppedError: the keeper says that the process is to end; the state is kept.
        MemberLostError: another process of the group is gone.
        TrainingError: the framework could not run a batch.
    """
    options = parse_options(Training, training, "training")
    _require_keras_on(options.backend)
    repeatable(seed)
    windows: Windows | None = None
    some: Rows
    if isinstance(train, Windows):
        _require_streams(options)
        windows, some, count = train, train.example, train.rows
    else:
        some, count = train, len(train[1])
    batches = -(-count // options.batch_size)
    sampling = Sampling(count, min(options.batch_size, count)) if options.privacy else None
    held_out = validation if validation is not None and len(validation[1]) else None
    if options.augmentation is not None:
        model = augmented(model, images, options.augmentation, seed, grids)
    loss = compile_model(model, some, options, task, len(classes), batches)
    if sampling is not None:
        require_plain(model)
    counts = None
    if classes and options.class_weights is not None:
        counts = windows.counts if windows is not None else np.bincount(some[1], minlength=len(classes))
    weights = class_weights(options.class_weights, counts, classes)

    def rows(part: Rows) -> tuple[Any, ...]:
        return inputs_of(model, part[0]), encode_target(loss.target, part[1], len(classes))

    def weighted(part: Rows) -> tuple[Any, ...]:
        return rows(part) if weights is None else (*rows(part), weights[part[1]])

    xla = _xla(model, options, batches, gpus)
    learned: Any
    if windows is not None:
        learned = Streamed(windows, options.batch_size, weighted)
    else:
        learned = weighted(some) if sampling is None else sampling.filled(weighted(some))
    parts = Parts(model, learned, held_out and rows(held_out), options, loss, seed, xla, gpus, sampling)
    loop, check = make_loops(parts)
    nothing = Watch()
    watch = Watch(
        on_epoch or nothing.on_epoch,
        on_batch or nothing.on_batch,
        on_resume or nothing.on_resume,
        keeper,
        group,
    )
    order = windows.order if windows else None if sampling is None else sampling.order
    course = Course(model, options, seed, loop, check, watch, medians or (), order)
    done = course.run()
    return History(
        epochs=done.epochs,
        monitor=course.monitor,
        best_epoch=done.best_epoch,
        stopped=course.stopped,
        seconds=done.seconds,
        xla=xla,
        batches_a_call=loop.batches_a_call(),
        epsilon=spent(options.privacy, sampling, model) if options.privacy and sampling else None,
        resumed=course.resumed,
    )


def _require_keras_on(backend: str) -> None:
    import keras

    if keras.backend.backend() != keras_backend(backend):
        raise OptionsError(
            f"Option 'training.backend' is {backend!r} and Keras runs on {keras.backend.backend()}. Set "
            f"KERAS_BACKEND={keras_backend(backend)} before Keras is imported."
        )


def _require_streams(options: Training) -> None:
    for name, held in (("privacy", options.privacy), ("backend: numpy", options.backend == "numpy")):
        if held:
            raise OptionsError(
                f"Option 'training.{name}' is for rows in memory, and the data is streamed. Leave it out, or state "
                "data.stream: false and resources.memory for all rows."
            )


def _xla(model: Any, options: Training, batches: int, gpus: int) -> bool:
    if options.privacy is not None and options.backend == "tensorflow":
        return False
    if options.backend != "tensorflow":
        return options.backend == "jax"  # which always compiles
    if gpus > 1:
        if options.xla:
            raise OptionsError(
                f"Option 'training.xla' is true and resources.gpus is {gpus}, and on TensorFlow XLA compiles for one "
                "device. Leave xla out, or set training.backend: jax."
            )
        return False
    return xla_pays(model, batches * options.epochs) if options.xla is None else options.xla
