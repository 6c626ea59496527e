"""Train a model: prepare its data, compile it, and run its epochs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tidegate.models.config.class_weights import class_sizes, class_weights, row_weights
from tidegate.models.config.losses import require_value_a_pixel
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training, keras_backend
from tidegate.models.data.columns import Array
from tidegate.models.data.default_boxes import Grid
from tidegate.models.distributed.process_group import Group
from tidegate.models.errors import OptionsError
from tidegate.models.loops import LoopSpec, make_loops
from tidegate.models.loops.dp_sgd import Sampling, require_private_model, spent_epsilon
from tidegate.models.loops.streamed import StreamedRows
from tidegate.models.loops.tensorflow import xla_pays
from tidegate.models.networks.determinism import make_deterministic
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.user_models.own_training import require_steps
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.windows import Rows as WindowRows
from tidegate.models.preprocessing.windows import ShuffleWindows
from tidegate.models.training.augmentation import augmented
from tidegate.models.training.checkpoint import CheckpointManager
from tidegate.models.training.compile import as_learned, compile_model, without_metrics
from tidegate.models.training.epoch_loop import EpochLoop, Hooks, OnBatch, OnEpoch, OnResume
from tidegate.models.training.keras_loop.keras_setup import by_keras, forget_training, keras_training
from tidegate.models.training.measures.several_losses import compile_several
from tidegate.models.training.shared_graph import SharedGraph

Rows = tuple[Mapping[str, np.ndarray], np.ndarray]


@dataclass
class History:
    """The record of a training.

    Attributes:
        epochs: the values of each finished epoch: loss, metrics, val_loss; learning_rate under a schedule.
        monitor: the value that early stopping, plateaus and pruning monitored.
        best_epoch: index of the epoch with the best monitored value.
        stopped: "" after all epochs, "early" by early stopping, "pruned" by the medians.
        seconds: wall time from the first batch to the last, including the time before it was killed.
        xla: whether the loop was compiled with XLA.
        batches_a_call: batches per call at the end; it does not change the result.
        epsilon: the epsilon spent under `training.privacy`; None without it.
        resumed: epoch and batch that a killed training resumed from, both from 0; None: it was not killed.
        loop: "keras" where Keras' own `fit` trained, "" where a loop of ours did.
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
    loop: str = ""


def fit(
    model: Any,
    train: Rows | ShuffleWindows,
    validation: Rows | None,
    training: Mapping[str, Any],
    *,
    task: str,
    classes: Sequence[Any],
    target: Target | None = None,
    seed: int,
    images: Sequence[str] = (),
    grids: Sequence[Grid] = (),
    on_epoch: OnEpoch | None = None,
    on_batch: OnBatch | None = None,
    on_resume: OnResume | None = None,
    on_loop: Callable[[str], None] | None = None,
    weights: Array | None = None,
    validation_weights: Array | None = None,
    checkpoints: CheckpointManager | None = None,
    medians: Sequence[float | None] | None = None,
    gpus: int = 0,
    group: Group | None = None,
    stated: Collection[str] = (),
    shared: SharedGraph | None = None,
    last_only: bool = False,
) -> History:
    """Train `model` in place and return what happened.

    On the CPU the same model, rows, settings and seed give bit-identical weights; with `checkpoints` also when the
    process is killed at any moment and `fit` is called again. For precision float64 call it within
    `families.build.precision_scope`.

    Args:
        model: from `build_model`, with outputs for the same loss.
        train: model inputs by name (rows, ...) and int64 class indices (rows,) or float32
            numbers (rows, values); or rows that stay on disk.
        validation: the same for other rows; may be None or have no rows.
        training: the experiment's `training` section, see `Training`.
        task: "classification", "regression", "generation" or "detection".
        classes: the target's classes in the order of their indices; empty for regression.
        target: what is predicted, where it has a shape of its own or several outputs; None: a class or numbers a row.
        seed: seeds the order of rows and everything random in the model.
        images: names of the inputs that are images, which `training.augmentation` changes.
        grids: the default boxes of a detection, which augmentation needs.
        on_epoch: called with the epoch from 0, its values, and the time it ended in ms since 1970.
        on_batch: called with the epoch, batches done and batches per epoch, at most twice a second.
        on_resume: called with the progress of a killed training, and the batches per epoch.
        on_loop: called with how Keras' own loop trains, in words, where it does.
        weights, validation_weights: how much each row counts in the loss, float32 (rows,), as Keras' `sample_weight`;
            None: all the same. Rows that stay on disk bring their own.
        checkpoints: saves the state as the option `training.checkpoint` says; None: it is not saved.
        medians: other trials' best monitored value at each epoch, see `tuning.search.medians`; None: no rule.
        gpus: devices of this process that share each batch, see `distributed.jax_sharding` and
            `distributed.tensorflow_replicas`; 0: one device, or on JAX all CPU devices.
        group: the other processes that share each batch, all called with the same arguments; None: none.
        stated: options that the experiment states, though they have the default.
        shared: the compiled model of an earlier training, if there is one, and for a later one; `model` is this model,
            and stays compiled with its metrics.
        last_only: whether only the last epoch's values are asked for, so that many epochs may be run in one call; the
            record then has those that were told.

    Raises:
        OptionsError: a setting is unknown, wrong, or does not fit the model.
        NonFiniteLossError: the loss became NaN or infinite.
        StoppedError: the process received SIGTERM; the state is saved.
        MemberLostError: another process of the group was lost.
        TrainingError: the framework could not run a batch.
    """
    options = parse_options(Training, training, "training")
    _require_keras_on(options.backend)
    require_steps(model, _steps_of_ours(options))
    make_deterministic(seed)
    default = Hooks()
    hooks = Hooks(
        on_epoch or default.on_epoch,
        on_batch or default.on_batch,
        on_resume or default.on_resume,
        on_loop or default.on_loop,
        checkpoints,
        group,
    )
    held_out = validation if validation is not None and len(validation[1]) else None
    if by_keras(model, options):
        by_fit = keras_training(
            model,
            train,
            held_out,
            options,
            task,
            classes,
            seed,
            hooks,
            medians or (),
            stated,
            gpus,
            (weights, validation_weights),
            target,
        )
        by_fit.run()
        forget_training(model)
        return _history(by_fit, loop="keras")
    windows: ShuffleWindows | None = None
    some: Rows
    if isinstance(train, ShuffleWindows):
        _require_streams(options)
        windows, some, count = train, train.example[:2], train.rows
    else:
        some, count = train, len(train[1])
    batches = -(-count // options.batch_size)
    sampling = Sampling(count, min(options.batch_size, count)) if options.privacy else None
    if options.augmentation is not None:
        model = augmented(model, images, options.augmentation, seed, grids, target)
    encode: Callable[[np.ndarray], Any]
    if target is not None and target.outputs is not None:
        loss, encode = compile_several(model, some, options, target, batches)
    else:
        shape = target.shape if target is not None else None
        ready = shared.loss if shared is not None else None
        ignores = target is not None and target.ignored is not None
        loss = ready or compile_model(model, some, options, task, len(classes), batches, shape, ignores)
        encode = partial(as_learned, loss, classes=len(classes), shape=model.outputs[0].shape)
    at_places = target is not None and target.at_places
    if at_places:
        require_value_a_pixel(loss, options.class_weights is not None, weights is not None)
    if sampling is not None:
        require_private_model(model)
    counts = None
    if classes and options.class_weights is not None:
        counts = windows.counts if windows is not None else class_sizes(some[1], len(classes))
    of_class = class_weights(options.class_weights, counts, classes)

    def rows(part: Rows) -> tuple[Any, ...]:
        return inputs_of(model, part[0]), encode(part[1])

    def weighted(part: Rows, own: Array | None) -> tuple[Any, ...]:
        """With the product of the weights of a row and of its class, as `Model.fit` does."""
        weights = row_weights(own, of_class, part[1], at_places)
        return rows(part) if weights is None else (*rows(part), weights)

    def weighted_window(part: WindowRows) -> tuple[Any, ...]:
        return weighted(part[:2], part[2] if len(part) > 2 else None)

    xla = _xla(model, options, batches, gpus)
    training_rows: Any
    if windows is not None:
        training_rows = StreamedRows(windows, options.batch_size, weighted_window)
    else:
        training_rows = weighted(some, weights)
        training_rows = training_rows if sampling is None else sampling.padded(training_rows)
    if held_out is None or validation_weights is None:
        validation_rows = held_out and rows(held_out)
    else:
        of_validation = row_weights(validation_weights, None, held_out[1], at_places)
        validation_rows = (*rows(held_out), of_validation)
    if shared is not None and shared.loops is not None:
        loop, check = shared.restart(training_rows, validation_rows)
    else:
        any_rows = shared is not None
        spec = LoopSpec(
            model, training_rows, validation_rows, options, loss, seed, xla, gpus, sampling, any_rows
        )
        loop, check = make_loops(spec)
        if shared is not None:
            shared.keep(model, loss, (loop, check))
    order = windows.order if windows else None if sampling is None else sampling.order
    epoch_loop = EpochLoop(model, options, seed, loop, check, hooks, medians or (), order, last_only)
    epoch_loop.run()
    if shared is None:
        without_metrics(model)
    epsilon = spent_epsilon(options.privacy, sampling, model) if options.privacy and sampling else None
    return _history(epoch_loop, xla=xla, epsilon=epsilon)


def _history(trained: EpochLoop, **more: Any) -> History:
    done = trained.progress
    return History(
        epochs=done.epochs,
        monitor=trained.monitor,
        best_epoch=done.best_epoch,
        stopped=trained.stopped,
        seconds=done.seconds,
        batches_a_call=trained.loop.batches_a_call(),
        resumed=trained.resumed,
        **more,
    )


def _require_keras_on(backend: str) -> None:
    import keras

    if keras.backend.backend() != keras_backend(backend):
        raise OptionsError(
            f"option 'training.backend' is {backend!r} and Keras runs on {keras.backend.backend()}; expected "
            f"{keras_backend(backend)}; set KERAS_BACKEND={keras_backend(backend)} before Keras is imported"
        )


def _steps_of_ours(options: Training) -> dict[str, bool]:
    """Whether the model's own steps are used, by the option that may train by others."""
    return {
        "training.backend: numpy": options.backend != "numpy",
        "training.privacy": options.privacy is None,
        "training.augmentation": options.augmentation is None,
    }


def _require_streams(options: Training) -> None:
    for name, held in (("privacy", options.privacy), ("backend: numpy", options.backend == "numpy")):
        if held:
            raise OptionsError(
                f"option 'training.{name}' is given and the data is streamed; expected rows in memory; leave it out, "
                "or set data.stream: false and resources.memory for all rows"
            )


def _xla(model: Any, options: Training, batches: int, gpus: int) -> bool:
    if options.privacy is not None and options.backend == "tensorflow":
        return False
    if options.backend != "tensorflow":
        return options.backend == "jax"  # which always compiles
    if gpus > 1:
        if options.xla:
            raise OptionsError(
                f"option 'training.xla' is true and resources.gpus is {gpus}; expected one device, because XLA "
                "compiles for one device on TensorFlow; leave xla out, or set training.backend: jax"
            )
        return False
    return xla_pays(model, batches * options.epochs) if options.xla is None else options.xla
