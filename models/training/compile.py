"""Compile a model with its loss, optimizer and metrics, and check on one row that they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.models.config.losses import Loss, encode_target, loss_named, with_label_smoothing
from tidegate.models.config.metrics import (
    DEFAULT_METRICS,
    OF_CLASSES,
    OF_NUMBERS,
    TOP_K,
    require_task,
    require_top,
)
from tidegate.models.config.training import Regularization, Training
from tidegate.models.errors import OptionsError
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.training.class_metrics import class_metric
from tidegate.models.training.loss_functions import loss_function
from tidegate.models.training.optimizers import build_optimizer


def compile_model(
    model: Any,
    train: tuple[Mapping[str, np.ndarray], np.ndarray],
    options: Training,
    task: str,
    classes: int,
    batches: int,
) -> Loss:
    """Compile `model` for its training and return the chosen loss.

    Args:
        model: an untrained Keras model.
        train: the training rows; the first one is tried.
        options: the experiment's `training` section.
        task: "classification" or "regression".
        classes: number of classes.
        batches: batches per epoch.

    Raises:
        OptionsError: loss, optimizer, schedule or a metric is unknown, or they do not fit together.
    """
    loss = with_label_smoothing(loss_named(options.loss, task, classes), options.label_smoothing)
    _penalise(model, options.regularization)
    names = options.metrics if options.metrics is not None else DEFAULT_METRICS[task]
    require_task(names, task)
    if task == "classification":
        require_top(names, classes)
    metrics = [keras_metric(name, classes) for name in names]
    schedule = options.learning_rate_schedule
    model.compile(
        optimizer=build_optimizer(options.optimizer, schedule, batches, options.epochs),
        loss=loss_function(loss),
        **{"weighted_metrics" if options.privacy else "metrics": metrics},
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    _try_one_row(model, train, loss, classes)
    return loss


def _penalise(model: Any, penalty: Regularization | None) -> None:
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


def _try_one_row(
    model: Any, train: tuple[Mapping[str, np.ndarray], np.ndarray], loss: Loss, classes: int
) -> None:
    """Metrics create their variables with the first rows, which is not possible inside a compiled loop."""
    inputs = {name: array[:1] for name, array in inputs_of(model, train[0]).items()}
    try:
        target = encode_target(loss.target, train[1][:1], classes)
        answer = model(inputs, training=False)
        model.compute_loss(inputs, target, answer, training=False)
        model.compute_metrics(inputs, target, answer)
    except (ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:300]
        raise OptionsError(
            f"loss {loss.name!r} and metrics {[m.name for m in model.metrics]} cannot be computed on the "
            f"model's outputs {tuple(model.outputs[0].shape)}: {cause}; expected ones that fit the outputs; change them"
        ) from error
    model.reset_metrics()
