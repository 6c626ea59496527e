"""A model of several outputs: its heads, the loss and the metrics of each, and the target by name, as for Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tidegate.models.config.losses import Loss, dense_task, loss_named
from tidegate.models.config.own_metrics import own_metrics
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import OutputOptions
from tidegate.models.errors import OptionsError, one_line
from tidegate.models.keras_private import answers_of
from tidegate.models.networks.heads.probabilities import require_probabilities
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import as_numpy
from tidegate.models.networks.several_outputs import SeveralOutputs
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import truths_of
from tidegate.models.training.compile import ACTIVATIONS, TRIED, Rows, as_learned, keras_metrics, penalise
from tidegate.models.training.measures.loss_functions import loss_function
from tidegate.models.training.optimizers import build_optimizer

Arrays = dict[str, np.ndarray]


def heads_of(target: Target, options: Training) -> SeveralOutputs:
    """The outputs that `build` ends a model of several with.

    Raises:
        OptionsError: a loss does not fit its output, or an option is for a model of one.
    """
    _require_options(target, options)
    heads = {}
    for output in target.outputs or ():
        loss = options_of(options, output.name).loss
        head = outputs_for(output.task, len(output.classes), output.places, loss, shape=output.shape)
        if head.logits:
            raise OptionsError(
                f"the loss of output {output.name!r} has from_logits: true, and the model has several outputs; "
                "expected probabilities; end it with outputs[name].layer(x), and leave from_logits out"
            )
        heads[output.name] = replace(head, name=_layer_name(output.name))
    return SeveralOutputs(heads, target.names)


def losses_of(target: Target, options: Training) -> dict[str, Loss]:
    """The loss of each output, by name."""
    return {
        output.name: loss_named(
            options_of(options, output.name).loss, dense_task(output.task, output.shape), len(output.classes)
        )
        for output in target.outputs or ()
    }


def options_of(options: Training, name: str) -> OutputOptions:
    """How an output is learned."""
    return (options.outputs or {}).get(name) or OutputOptions.model_validate({})


def targets_by_output(
    target: Target, losses: Mapping[str, Loss], shapes: Mapping[str, Any], y: np.ndarray
) -> Arrays:
    """The encoded target `(n, ...)`, of all outputs side by side, as each loss needs it."""
    found = {}
    for output, part in truths_of(target):
        own = y[:, part]
        if output.task in ("classification", "segmentation"):
            own = own.astype(np.int64)
        shape = () if output.task == "classification" else output.shape or own.shape[1:]
        found[output.name] = as_learned(
            losses[output.name], own.reshape(len(own), *shape), len(output.classes), shapes[output.name]
        )
    return found


def compile_several(
    model: Any, train: Rows, options: Training, target: Target, batches: int
) -> tuple[Loss, Callable[[np.ndarray], Arrays]]:
    """Compile a model of several outputs, each with its own loss, weight and metrics.

    Args:
        model: an untrained Keras model, whose outputs are a dict.
        train: the training rows; the first ones are tried.
        options: the experiment's `training` section.
        target: what is predicted.
        batches: batches per epoch.

    Returns:
        One of the losses, and what encodes the target for Keras.

    Raises:
        OptionsError: loss, optimizer, schedule or a metric is unknown, or they do not fit together.
        UserModelError: outputs of classes are no probabilities.
    """
    losses, outputs = losses_of(target, options), target.outputs or ()
    own = {output.name: options_of(options, output.name) for output in outputs}
    _tell_epochs_only(own)
    penalise(model, options.regularization)
    model.compile(
        optimizer=build_optimizer(options.optimizer, options.learning_rate_schedule, batches, options.epochs),
        loss={name: loss_function(loss) for name, loss in losses.items()},
        loss_weights={name: one.weight for name, one in own.items()},
        metrics={
            one.name: keras_metrics(own[one.name].metrics, one.task, len(one.classes)) for one in outputs
        },
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    shapes = {name: tensor.shape for name, tensor in answers_of(model).items()}
    encode = partial(targets_by_output, target, losses, shapes)
    _try_rows(model, train, losses, encode)
    return next(iter(losses.values())), encode


def _tell_epochs_only(own: Mapping[str, OutputOptions]) -> None:
    """Print which metrics the test rows will not have: whole splits are measured as the evaluation does."""
    for name, one in own.items():
        for metric in own_metrics(one.metrics):
            print(
                f"metric {name}_{metric} is computed in each epoch, and not of the test rows: of several outputs these "
                "have built-in metrics alone",
                flush=True,
            )


def _try_rows(
    model: Any, train: Rows, losses: Mapping[str, Loss], encode: Callable[[np.ndarray], Arrays]
) -> None:
    """Run the model, its losses and its metrics on a few rows, eagerly, before anything is compiled for all."""
    rows = np.arange(TRIED) % len(train[1])
    inputs = {name: array[rows] for name, array in inputs_of(model, train[0]).items()}
    answer = model(inputs, training=False)
    for name, loss in losses.items():
        require_probabilities(as_numpy(answer[name]), ACTIVATIONS[loss.target])
    try:
        model.compute_loss(inputs, encode(train[1][rows]), answer, training=False)
        model.compute_metrics(inputs, encode(train[1][rows]), answer)
    except Exception as error:
        named = {name: loss.name for name, loss in losses.items()}
        raise OptionsError(
            f"the losses {named} and the metrics cannot be computed on the model's outputs: "
            f"{one_line(error)[:300]}; expected ones that fit the outputs; change them"
        ) from error
    model.reset_metrics()


def _require_options(target: Target, options: Training) -> None:
    names = [output.name for output in target.outputs or ()]
    listed = ", ".join(names)
    for key in ("loss", "metrics", "label_smoothing", "privacy"):
        if getattr(options, key):
            raise OptionsError(
                f"option 'training.{key}' is given, and the model has the outputs {listed}; expected it by output, as "
                "in data.target: {NAME: {loss: ..., weight: ..., metrics: [...]}}; leave it out here"
            )
    unknown = [name for name in options.outputs or {} if name not in names]
    if unknown:
        raise OptionsError(
            f"training.outputs names {', '.join(unknown)}, and the model has the outputs {listed}; expected one of "
            "these; correct it"
        )
    if options.backend == "numpy":
        raise OptionsError(
            "option 'training.backend' is 'numpy', and the model has several outputs; expected tensorflow, jax or "
            "torch; choose one"
        )


def _layer_name(name: str) -> str:
    return f"output_{name}".replace("/", "_")
