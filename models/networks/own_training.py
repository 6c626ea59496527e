"""What a user's model would train with by itself: `compile()` in its build, or methods of its own class.

The training section decides how a model is trained, and our loops run Keras' own steps. What they would leave out is
refused before the first batch.
"""

from __future__ import annotations

import inspect
from itertools import takewhile
from typing import Any

from tidegate.models.errors import UserModelError

# Methods of `keras.Model` that the loops call on the model that they train, so that one of the user's is used.
CALLED = ("train_step", "test_step", "compute_loss", "compute_metrics", "stateless_compute_loss")
# Methods and properties that decide how a model is trained or measured, and that nothing here calls.
NOT_CALLED = (
    *(
        "fit",
        "evaluate",
        "predict",
        "compile",
        "compile_from_config",
        "predict_step",
        "metrics",
        "reset_metrics",
    ),
    *("make_train_function", "make_test_function", "make_predict_function", "get_metrics_result"),
    *("train_on_batch", "test_on_batch", "predict_on_batch", "loss", "optimizer"),
)


def own_methods(model: Any, names: tuple[str, ...] = CALLED) -> list[str]:
    """Those of the names that the model's own class, or the model itself, defines in place of Keras."""
    return [name for name in names if name in _own(model)]


def _own(model: Any) -> dict[str, Any]:
    """What is defined in place of Keras, by name."""
    own = {name: value for name, value in vars(model).items() if inspect.isroutine(value)}
    for kind in takewhile(lambda kind: not kind.__module__.startswith("keras."), type(model).__mro__):
        own = {**vars(kind), **own}
    return own


def require_no_own_training(model: Any, kept: bool, where: str) -> None:
    """Refuse a model that was compiled, or has methods for training that would not be used.

    Args:
        model: as the user's build returned it.
        kept: whether this very object is trained, not a model around it.
        where: file and line of build.

    Raises:
        UserModelError: says what was found, and what to do instead.
    """
    if getattr(model, "compiled", False):
        raise UserModelError(
            f"{where}: build compiled the model with {_compiled(model)}, which would not be used; expected one that is "
            "not compiled, because the training section says how it is trained; leave compile() out, and set "
            "training.optimizer, training.loss and training.metrics"
        )
    found = own_methods(model, NOT_CALLED if kept else (*CALLED, *NOT_CALLED))
    if found:
        instead = (
            "return keras.Model(inputs, outputs.layer(x)) itself, whose train_step, test_step, compute_loss and "
            "compute_metrics are used when it is a class of yours, or leave them out"
        )
        raise UserModelError(
            f"{_place(_own(model)[found[0]], where)}: class {type(model).__name__} has its own {', '.join(found)}, "
            f"which would not be used; expected a model that Keras' own steps train, as the training section says; "
            f"{instead}"
        )


def require_steps(model: Any, used: bool, option: str) -> None:
    """Refuse a model with steps of its own where an option trains by other ones.

    Raises:
        UserModelError: names the steps and the option.
    """
    found = own_methods(model)
    if found and not used:
        raise UserModelError(
            f"class {type(model).__name__} has its own {', '.join(found)}, and option {option} trains by other steps; "
            "expected one of the two; leave one out"
        )


def _compiled(model: Any) -> str:
    """What a model was compiled with, in words."""
    optimizer, loss = getattr(model, "optimizer", None), getattr(model, "loss", None)
    parts = [f"optimizer {type(optimizer).__name__}"] if optimizer is not None else []
    parts += [f"loss {_name(loss)}"] if loss is not None else []
    return " and ".join(parts) or "settings of its own"


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else str(getattr(loss, "__name__", type(loss).__name__))


def _place(method: Any, where: str) -> str:
    """File and line of a method, where it is in the user's file."""
    code = getattr(getattr(method, "fget", method), "__code__", None)
    path = where.rpartition(":")[0]
    return f"{path}:{code.co_firstlineno}" if code is not None and code.co_filename == path else where
