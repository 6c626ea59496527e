"""Optimizers and learning-rate schedules by name; every argument is checked before it is used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.config.training_parts import Cosine, Exponential, Plateau, Schedule
from tidegate.models.errors import OptionsError, UnknownOptionError
from tidegate.models.training.own.own_objects import own_optimizer
from tidegate.models.user_code.references import is_reference

# Keras' optimizers and the options that only some of them have, written out so that a wrong name is found without
# importing Keras; a test checks that both are complete.
OPTIMIZERS = {
    "adadelta": ("rho", "epsilon"),
    "adafactor": ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"),
    "adagrad": ("initial_accumulator_value", "epsilon"),
    "adam": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "adamax": ("beta_1", "beta_2", "epsilon"),
    "adamw": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "ftrl": (
        "learning_rate_power",
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
        "beta",
    ),
    "lamb": ("beta_1", "beta_2", "epsilon"),
    "lion": ("beta_1", "beta_2"),
    "muon": (
        "adam_beta_1",
        "adam_beta_2",
        "adam_weight_decay",
        "epsilon",
        "exclude_layers",
        "exclude_embeddings",
        "muon_a",
        "muon_b",
        "muon_c",
        "adam_lr_ratio",
        "momentum",
        "ns_steps",
        "nesterov",
        "rms_rate",
    ),
    "nadam": ("beta_1", "beta_2", "epsilon"),
    "rmsprop": ("rho", "momentum", "epsilon", "centered"),
    "schedulefreeadamw": ("beta_1", "beta_2", "epsilon", "warmup_steps"),
    "sgd": ("momentum", "nesterov"),
}
COMMON = (
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def construct(factory: Callable[..., Any], options: Mapping[str, Any], what: str) -> Any:
    """Return `factory(**options)`; `what` names it in a message.

    Raises:
        OptionsError: an option is unknown, naming the nearest, or refused, with the reason.
    """
    known = set(inspect.signature(factory).parameters) - {"kwargs", "name", "args"}
    for key in options:
        if key not in known:
            raise OptionsError(f"unknown option {key!r} of {what}{did_you_mean(key, known)}")
    try:
        return _exact(factory(**options))
    except (TypeError, ValueError) as error:
        raise OptionsError(
            f"the options {dict(options)} of {what} were refused: {error}; expected valid ones; correct them"
        ) from error


def _exact(made: Any) -> Any:
    """With float64, make an object's numbers NumPy float64: TensorFlow would round Python's to float32."""
    import keras
    import numpy as np

    if keras.config.floatx() == "float64":
        for name, value in vars(made).items():
            if type(value) is float:
                setattr(made, name, np.float64(value))
    return made


def optimizer_classes() -> dict[str, Any]:
    """Return every optimizer of Keras by its lower-case name."""
    import keras

    members = vars(keras.optimizers).items()
    abstract = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
    return {
        name.lower(): member
        for name, member in members
        if inspect.isclass(member) and issubclass(member, keras.optimizers.Optimizer) and name not in abstract
    }


def check_optimizer(optimizer: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an optimizer's lower-case name, or its reference, and its options, without importing Keras.

    Raises:
        OptionsError: an unknown optimizer, an option that it does not have, or a wrong learning rate.
    """
    options = dict(optimizer) if isinstance(optimizer, Mapping) else {"name": optimizer}
    name = str(options.pop("name", "adam"))
    if is_reference(name):
        return name, options
    name = name.lower()
    if name not in OPTIMIZERS:
        raise OptionsError(f"unknown optimizer {name!r}{did_you_mean(name, OPTIMIZERS)}")
    known = (*COMMON, *OPTIMIZERS[name])
    for key in options:
        if key not in known:
            owner = f"optimizer {name!r}"
            raise UnknownOptionError(
                f"unknown option {key!r} of {owner}{did_you_mean(key, known)}", key, owner
            )
    rate = options.get("learning_rate")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0):
        raise OptionsError(
            f"the learning rate of optimizer {name!r} is {rate!r}; expected a number above 0; correct it"
        )
    return name, options


def build_optimizer(
    optimizer: str | Mapping[str, Any], schedule: Schedule | None, steps: int, epochs: int
) -> Any:
    """Return an experiment's Keras optimizer.

    Args:
        optimizer: a name or reference, or {name, learning_rate, ...} with arguments of that class.
        schedule: how the learning rate changes, or None.
        steps: batches per epoch.
        epochs: epochs planned.

    Raises:
        OptionsError: the optimizer or an argument is unknown or wrong.
        UserCodeError: a reference names no optimizer.
    """
    name, options = check_optimizer(optimizer)
    if is_reference(name):
        make: Callable[..., Any] = partial(own_optimizer, name)
    else:
        make = partial(_keras_optimizer, optimizer_classes()[name], name)
    built = make(options)
    if schedule is None or isinstance(schedule, Plateau):
        return built
    options["learning_rate"] = _exact(_schedule(schedule, float(built.learning_rate), steps, epochs))
    return make(options)


def _keras_optimizer(kind: Any, name: str, options: Mapping[str, Any]) -> Any:
    return construct(kind, options, f"optimizer {name!r}")


def _schedule(schedule: Schedule, rate: float, steps: int, epochs: int) -> Any:
    from keras.optimizers import schedules

    if isinstance(schedule, Cosine):
        warmup = schedule.warmup_epochs * steps
        ramp = {"warmup_target": rate, "warmup_steps": warmup} if warmup else {}
        return schedules.CosineDecay(
            0.0 if warmup else rate, max(1, steps * epochs - warmup), alpha=schedule.final, **ramp
        )
    if isinstance(schedule, Exponential):
        return schedules.ExponentialDecay(rate, steps, schedule.factor)
    assert not isinstance(schedule, Plateau)
    return schedules.ExponentialDecay(rate, steps * schedule.every, schedule.factor, staircase=True)
