"""Losses, metrics, optimizers and callbacks of the user's project, by reference."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from tidegate.models.config.losses import Loss
from tidegate.models.config.own_metrics import OwnMetric
from tidegate.models.errors import UserCodeError
from tidegate.models.user_code.references import load_reference, user_code


def own_loss(reference: str, options: Mapping[str, Any], logits: bool) -> Any:
    """The Keras loss of a reference to a function (y_true, y_pred), a `keras.losses.Loss` class or an object of it.

    Args:
        reference: such as "my_losses:focal".
        options: keyword arguments.
        logits: whether it takes logits; a class or function with an argument from_logits gets it.

    Raises:
        UserCodeError: it is something else, or does not take the options.
    """
    import keras

    option, kind = "training.loss", keras.losses.Loss
    expected = "a function (y_true, y_pred) or a keras.losses.Loss"
    found = _object_or_callable(reference, options, option, kind, expected)
    if isinstance(found, kind):
        return found
    if logits and "from_logits" in inspect.signature(found).parameters:
        options = {**options, "from_logits": True}
    if inspect.isclass(found):
        return _instance(found, options, reference, option, kind)
    return _of_two(found, options, reference, option)


def own_metric(metric: OwnMetric) -> Any:
    """The Keras metric of a reference to a function (y_true, y_pred), a `keras.metrics.Metric` class or an object.

    Raises:
        UserCodeError: it is something else, does not take the options, or has another name.
    """
    import keras

    option, reference = "training.metrics", metric.reference
    expected = "a function (y_true, y_pred) or a keras.metrics.Metric"
    found = _object_or_callable(reference, metric.options, option, keras.metrics.Metric, expected)
    if isinstance(found, keras.metrics.Metric):
        found.reset_state()
    elif inspect.isclass(found):
        named = {"name": metric.name} if _takes_name(found) else {}
        found = _instance(found, {**named, **metric.options}, reference, option, keras.metrics.Metric)
    else:
        computed = _of_two(found, metric.options, reference, option)
        found = keras.metrics.MeanMetricWrapper(computed, name=metric.name)
    if found.name != metric.name:
        raise UserCodeError(
            f"{option}: {reference} has the name {found.name!r}; expected {metric.name!r}, as in its reference; let "
            f"__init__ take a name, or give it that one"
        )
    return found


def measure(metric: OwnMetric, target: Any, outputs: Any) -> float | str:
    """A metric of the user's over all rows at once: a number, or in words why there is none.

    Args:
        metric: the metric.
        target: encoded as the loss needs it, rows first.
        outputs: the model's, float32, rows first.

    Raises:
        UserCodeError: it raises.
    """
    import keras

    if not len(outputs):
        return "there are no rows"
    with user_code(f"training.metrics: calling {metric.reference}"):
        made = own_metric(metric)
        made.update_state(keras.ops.convert_to_tensor(target), keras.ops.convert_to_tensor(outputs))
        value = float(made.result())
    return value if math.isfinite(value) else f"{metric.reference} returned {value}, no finite number"


def own_optimizer(reference: str, options: Mapping[str, Any]) -> Any:
    """The optimizer of a reference to a class, to a function that returns one, or to an object.

    Raises:
        UserCodeError: it is something else, or does not take the options.
    """
    import keras

    option, kind = "training.optimizer", keras.optimizers.Optimizer
    found = _object_or_callable(reference, options, option, kind, "a keras.optimizers.Optimizer")
    if isinstance(found, kind):
        with user_code(f"{option}: a copy of {reference}"):
            return type(found).from_config(found.get_config())
    return _instance(found, options, reference, option, kind)


def own_callback(reference: str, options: Mapping[str, Any]) -> Any:
    """The callback of a reference to a `keras.callbacks.Callback` class, a function that returns one, or an object.

    Raises:
        UserCodeError: it is something else, or does not take the options.
    """
    import keras

    option, kind = "training.callbacks", keras.callbacks.Callback
    found = _object_or_callable(reference, options, option, kind, "a keras.callbacks.Callback")
    return found if isinstance(found, kind) else _instance(found, options, reference, option, kind)


def require_value_a_row(loss: Loss, function: Any, target: Any, answer: Any) -> None:
    """Refuse a loss that gives neither one number nor one a row: its numbers were spread over each other.

    Args:
        loss: as it is asked for.
        function: the Keras loss.
        target: encoded, a few rows.
        answer: the model's outputs for them.

    Raises:
        UserCodeError: names the shapes.
    """
    with user_code(f"training.loss: calling {loss.name}"):
        value = getattr(function, "call", function)(target, answer)
        shape, whole = tuple(value.shape), tuple(answer.shape)
    if shape and shape != whole[: len(shape)]:
        raise UserCodeError(
            f"training.loss: {loss.name} returns shape {shape} for targets {tuple(target.shape)} and outputs {whole}; "
            f"expected one number a row {whole[:1]}, or one for all; reduce it over its last axis, and look whether "
            "targets and outputs have the same shape (`target` beside its name says how classes are given)"
        )


def _object_or_callable(
    reference: str, options: Mapping[str, Any], option: str, kind: type, expected: str
) -> Any:
    """What a reference names: an object of the kind, which takes no options, or something that can be called."""
    found = load_reference(reference, option)
    if isinstance(found, kind):
        _require_no_options(reference, options, option)
    elif not callable(found):
        raise _wrong(option, reference, found, expected)
    return found


def _instance(made_by: Any, options: Mapping[str, Any], reference: str, option: str, kind: type) -> Any:
    _require_arguments(made_by, (), options, reference, option)
    with user_code(f"{option}: calling {reference}"):
        made = made_by(**options)
    if not isinstance(made, kind):
        raise _wrong(option, reference, made, f"a keras {kind.__name__}")
    return made


def _of_two(
    function: Any, options: Mapping[str, Any], reference: str, option: str
) -> Callable[[Any, Any], Any]:
    """A function of (y_true, y_pred) with its options bound."""
    _require_arguments(function, ("y_true", "y_pred"), options, reference, option)
    bound: Callable[[Any, Any], Any] = functools.partial(function, **options) if options else function
    return bound


def _require_arguments(
    function: Any, given: tuple[str, ...], options: Mapping[str, Any], reference: str, option: str
) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # written in C
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        asked = ", ".join([*given, *options])
        raise UserCodeError(
            f"{option}: {reference} takes {signature} and is called with ({asked}): {error}; expected one that takes "
            "these; correct its arguments, or the options beside its name"
        ) from error


def _takes_name(kind: Any) -> bool:
    parameters = inspect.signature(kind).parameters.values()
    return any(one.name == "name" or one.kind is one.VAR_KEYWORD for one in parameters)


def _require_no_options(reference: str, options: Mapping[str, Any], option: str) -> None:
    if options:
        raise UserCodeError(
            f"{option}: {reference} is an object and has the options {sorted(options)}; expected none, because it is "
            "made already; name its class, or leave them out"
        )


def _wrong(option: str, reference: str, found: Any, expected: str) -> UserCodeError:
    return UserCodeError(
        f"{option}: {reference} is {type(found).__name__} {found!r}"[:300]
        + f"; expected {expected}; correct it"
    )
