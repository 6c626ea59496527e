"""Compile a model with its loss, optimizer and metrics, and check on one row that they fit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.models.config.losses import (
    Loss,
    Target,
    dense_task,
    encode_target,
    loss_named,
    with_ignored,
    with_label_smoothing,
)
from tidegate.models.config.metrics import (
    DEFAULT_METRICS,
    OF_CLASSES,
    OF_NUMBERS,
    TOP_K,
    require_ignoring,
    require_task,
    require_top,
)
from tidegate.models.config.own_metrics import Entry, metric_names, own_metrics
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Regularization
from tidegate.models.errors import OptionsError, TrainingError, UserCodeError, one_line
from tidegate.models.networks.heads.probabilities import require_probabilities
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.predict import as_numpy
from tidegate.models.networks.user_models.own_training import OwnTraining, own_methods, own_training
from tidegate.models.training.measures.class_metrics import class_metric
from tidegate.models.training.measures.label_metrics import label_metric
from tidegate.models.training.measures.loss_functions import loss_function
from tidegate.models.training.measures.pixel_metrics import pixel_metric
from tidegate.models.training.optimizers import build_optimizer
from tidegate.models.training.own.own_objects import own_metric, require_value_a_row
from tidegate.models.user_code.project import line_in_project
from tidegate.models.user_code.references import is_reference

Rows = tuple[Mapping[str, np.ndarray], np.ndarray]
TRIED = 2  # training rows, or one more
ACTIVATIONS: dict[Target, str] = {
    **dict.fromkeys(("index", "one_hot", "tokens"), "softmax"),
    **dict.fromkeys(("probability", "labels"), "sigmoid"),
    **dict.fromkeys(("number", "boxes"), "linear"),
}


def compile_model(
    model: Any,
    train: Rows,
    options: Training,
    task: str,
    classes: int,
    batches: int,
    shape: tuple[int, ...] | None = None,
    ignores: bool = False,
) -> Loss:
    """Compile `model` for its training and return the chosen loss.

    Args:
        model: an untrained Keras model.
        train: the training rows; the first ones are tried.
        options: the experiment's `training` section.
        task: "classification" or "regression".
        classes: number of classes.
        batches: batches per epoch.
        shape: of a dense target's row.
        ignores: whether some of its places have no class.

    Raises:
        OptionsError: loss, optimizer, schedule or a metric is unknown, or they do not fit together.
        UserCodeError: one of the user's is not what it should be, or raises.
        UserModelError: a classifier's outputs are no probabilities.
        TrainingError: the model cannot answer its own rows.
    """
    if options.outputs:
        raise OptionsError(
            "option 'training.outputs' is given, and the model has one output; expected training.loss and "
            "training.metrics; leave it out"
        )
    named = loss_named(options.loss, dense_task(task, shape), classes)
    loss = with_label_smoothing(named, options.label_smoothing)
    loss = with_ignored(loss, options.label_smoothing) if ignores else loss
    own = own_training(model)
    trained = model if own is None else own.model
    penalise(trained, options.regularization)
    metrics = keras_metrics(options.metrics, task, classes, ignores)
    schedule, function = options.learning_rate_schedule, loss_function(loss)
    trained.compile(
        optimizer=build_optimizer(options.optimizer, schedule, batches, options.epochs),
        loss=function,
        **{"weighted_metrics" if options.privacy else "metrics": metrics},
        jit_compile=own is not None and bool(options.xla),
    )
    trained.optimizer.build(trained.trainable_variables)
    _try_rows(model, trained, train, loss, classes)
    return loss


def as_learned(loss: Loss, y: np.ndarray, classes: int, shape: Sequence[int | None]) -> np.ndarray:
    """The target as a loss needs it, and arrays of numbers in the shape of the model's output (rows, ...)."""
    encoded = encode_target(loss.target, y, classes)
    if loss.target != "number" or encoded.ndim == 2:
        return encoded
    if len(shape) == 2:
        return encoded.reshape(len(encoded), -1)
    return encoded[..., None] if len(shape) == encoded.ndim + 1 else encoded


def keras_metrics(
    stated: Sequence[Entry] | None, task: str, classes: int, ignores: bool = False
) -> list[Any]:
    """The Keras metrics of `training.metrics`, or the task's default ones.

    Raises:
        OptionsError: one is for another task, or says nothing about so few classes.
        UserCodeError: one of the user's is not what it should be.
    """
    entries: Sequence[Entry] = stated if stated is not None else DEFAULT_METRICS[task]
    names, own = metric_names(entries), own_metrics(entries)
    require_task(names, task)
    if task == "classification":
        require_top(names, classes)
    built_in = label_metric if task == "multilabel" else keras_metric
    of_pixels = {"mean_iou", *(["accuracy"] if ignores else [])}
    if task == "segmentation" and ignores:
        require_ignoring(names, own)
    return [
        own_metric(own[name])
        if name in own
        else pixel_metric(name, classes)
        if task == "segmentation" and name in of_pixels
        else built_in(name, classes)
        for name in names
    ]


def build_metrics(own: OwnTraining, inputs: Mapping[str, Any], target: Any) -> None:
    """Let a compiled model create the variables of its loss and metrics now, where Keras' own methods do.

    A checkpoint can only be restored into variables that are there before the first batch.
    """
    model = own.model
    if own_methods(model, ("compute_loss", "compute_metrics", "metrics")) or not own.tests:
        return
    some = {name: array[:TRIED] for name, array in inputs.items()}
    answer = model(own.received(some), training=False)
    with contextlib.suppress(Exception):  # `fit` will say it, with the line
        model.compute_loss(some, target[:TRIED], answer)
        model.compute_metrics(some, target[:TRIED], answer)
    model.reset_metrics()


def penalise(model: Any, penalty: Regularization | None) -> None:
    """Attach the penalties to the weights, not the layers, so that the saved network does not have them."""
    if penalty is None or not (penalty.l1 or penalty.l2):
        return
    import keras

    own = [variable.path for variable in model.trainable_variables if variable.regularizer is not None]
    if own:
        raise OptionsError(
            f"option 'training.regularization' is {penalty.model_dump()} and the model has a penalty of its own on "
            f"{own[0]!r}; expected one of the two; leave one out, such as model.l2"
        )
    for variable in model.trainable_variables:
        if variable.name.endswith("kernel"):
            variable.regularizer = keras.regularizers.L1L2(penalty.l1, penalty.l2)


def keras_metric(name: str, classes: int) -> Any:
    """Return Keras' metric for a name of `config.metrics`; "accuracy" is right for every kind of target."""
    import keras

    if (name in OF_CLASSES or TOP_K.fullmatch(name)) and name != "accuracy":
        return class_metric(name, classes)
    if name not in OF_NUMBERS:
        return name
    kind = type(keras.metrics.get("".join(part.capitalize() for part in OF_NUMBERS[name].split("_"))))
    return kind(name=name)


def without_metrics(model: Any) -> None:
    """Compile a trained model again, without metrics: anyone's Keras opens its file, and ours are not Keras' own."""
    model.compile(model.optimizer, model.loss, jit_compile=False)


def _try_rows(model: Any, trained: Any, train: Rows, loss: Loss, classes: int) -> None:
    """Run the model, the loss and the metrics on a few rows, eagerly, before anything is compiled for all.

    Metrics create their variables with the first rows, which is not possible inside a compiled loop. A target of
    another shape than the outputs is only noticed with a number of rows that is not 1 and not that of the outputs.
    """
    rows = np.arange(TRIED + (model.outputs[0].shape[-1] == TRIED)) % len(train[1])
    inputs = {name: array[rows] for name, array in inputs_of(model, train[0]).items()}
    try:
        answer = model(inputs, training=False)
    except Exception as error:
        raise TrainingError(
            f"the model cannot answer {len(rows)} training rows: {type(error).__name__}: {one_line(error)[:300]}; "
            "expected a model that fits its data; correct it"
        ) from error
    require_probabilities(as_numpy(answer), ACTIVATIONS[loss.target])
    try:
        target = as_learned(loss, train[1][rows], classes, model.outputs[0].shape)
        if is_reference(loss.name):
            require_value_a_row(loss, trained.loss, target, answer)
        if not own_methods(trained, ("compute_loss",)):  # which may ask for more than these
            trained.compute_loss(inputs, target, answer, training=False)
        if not own_methods(trained, ("compute_metrics", "metrics")):
            trained.compute_metrics(inputs, target, answer)
    except UserCodeError:
        raise
    except Exception as error:
        place = line_in_project(error.__traceback__)
        raise OptionsError(
            f"{place + ': ' if place else ''}loss {loss.name!r} and metrics {[one.name for one in trained.metrics]} "
            f"cannot be computed on the model's outputs {tuple(model.outputs[0].shape)} and targets {target.shape}: "
            f"{one_line(error)[:300]}; expected ones that fit the outputs; change them"
        ) from error
    trained.reset_metrics()
