"""How a user's model trains by itself: `compile()` in its build, or methods of `keras.Model` that its class defines.

Such a model is trained by Keras' own `fit`, on the very object that build made; around it stands a model of the named
inputs, with the same weights, that is evaluated, exported and served. What can't be honoured is refused before the
first batch. `HOOKS` says it for each public name of `keras.Model`.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tidegate.models.config.losses import Target
from tidegate.models.errors import UserModelError
from tidegate.models.networks.outputs import Outputs

# Methods that our own loops call, so that one of the user's is used by them too.
CALLED = ("train_step", "test_step", "compute_loss", "compute_metrics", "stateless_compute_loss")
BY_FIT = (
    *CALLED,
    *("compile", "metrics", "reset_metrics", "get_metrics_result", "metrics_variables", "metrics_names"),
    *("make_train_function", "make_test_function"),
)
BY_LAYERS = (
    *("add_loss", "add_variable", "add_weight", "build", "build_from_config", "call", "compute_mask"),
    *("compute_output_shape", "compute_output_spec", "from_config", "get_build_config", "get_config"),
    *("get_state_tree", "get_weights", "layers", "load_own_variables", "losses", "non_trainable_variables"),
    *("non_trainable_weights", "save_own_variables", "set_state_tree", "set_weights", "stateless_call"),
    *("symbolic_call", "trainable", "trainable_variables", "trainable_weights", "variables", "weights"),
    *(
        "compute_dtype",
        "dtype",
        "dtype_policy",
        "input_dtype",
        "input_spec",
        "supports_masking",
        "variable_dtype",
    ),
    *("input", "output", "inputs", "outputs", "path"),
)
INSTEAD = {
    **dict.fromkeys(
        ("fit", "train_on_batch", "evaluate", "test_on_batch"),
        "write the loop as training.function: my_train:train, or what is special about a batch as train_step",
    ),
    **dict.fromkeys(
        ("predict", "predict_on_batch", "predict_step", "make_predict_function"),
        "an endpoint answers with call(), so let call() do it",
    ),
    **dict.fromkeys(
        ("save", "save_weights", "load_weights", "export", "to_json"),
        "the trained model is stored as Keras stores it; let get_config(), save_own_variables() and "
        "load_own_variables() say what belongs to it",
    ),
    **dict.fromkeys(("loss", "optimizer"), "give it to compile() in build, or to the training section"),
}
# Names that only a caller of one's own uses, or that are about what is not done here: quantization, compiled files.
OF_CALLERS = (
    *("add_metric", "compile_from_config", "compiled_loss", "compiled_metrics", "count_params"),
    *("distribute_reduction_method", "distribute_strategy", "get_compile_config", "get_layer"),
    *("get_quantization_layer_structure", "jit_compile", "quantization_mode", "quantize", "quantized_build"),
    *("quantized_call", "rematerialized_call", "run_eagerly", "summary"),
)
# Which of the public names of `keras.Model` is honoured where a class of the user's defines it.
HOOKS: dict[str, str] = {
    **dict.fromkeys(BY_FIT, "fit"),
    **dict.fromkeys(BY_LAYERS, "layers"),
    **dict.fromkeys(INSTEAD, "refused"),
    **dict.fromkeys(OF_CALLERS, "without effect"),
}


@dataclass(frozen=True)
class OwnTraining:
    """A model that trains by itself.

    Attributes:
        model: what build returned, whose `fit` is called.
        hooks: the methods of `BY_FIT` that its class defines.
        compiled: whether build compiled it.
        outputs: what it answers with, as the loss that it was compiled with has it; None: as it was asked for.
        target: the encoding of the target for that loss; None: as `training.loss` needs it.
    """

    model: Any
    hooks: tuple[str, ...]
    compiled: bool
    outputs: Outputs | None = None
    target: Target | None = None

    @property
    def why(self) -> str:
        """Why Keras' own loop trains it, in words."""
        name = type(self.model).__name__
        parts = [f"class {name} has its own {', '.join(self.hooks)}"] if self.hooks else []
        parts += [f"build compiled it with {_compiled(self.model)}"] if self.compiled else []
        return " and ".join(parts) or f"class {name} has metrics of its own"

    def received(self, inputs: Mapping[str, Any]) -> Any:
        """Model inputs by name in the form that this model was built on: a single one is no mapping."""
        given = self.model.input if getattr(self.model, "inputs", None) else None
        if isinstance(given, Mapping):
            return {name: inputs[name] for name in given}
        if given is not None and isinstance(given, list | tuple):
            return [inputs[tensor.name] for tensor in given]
        return next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)

    @property
    def tests(self) -> bool:
        """Whether it can compute a loss of held-out rows, as Keras' `evaluate` does."""
        own = {"test_step", "compute_loss"} & set(self.hooks)
        return bool(own or not self.compiled or self.model.loss is not None or self.model.losses)


def own_methods(model: Any, names: tuple[str, ...] = CALLED) -> list[str]:
    """Those of the names that the model's own class, or the model itself, defines in place of Keras."""
    return [name for name in names if name in _own(model)]


def _own(model: Any) -> dict[str, Any]:
    """What is defined in place of Keras, by name."""
    own = {name: value for name, value in vars(model).items() if inspect.isroutine(value)}
    for kind in takewhile(lambda kind: not kind.__module__.startswith("keras."), type(model).__mro__):
        own = {**vars(kind), **own}
    return own


def own_training_of(model: Any, kept: bool, where: str) -> OwnTraining | None:
    """How a model trains by itself; None: our loops train it as Keras would.

    Args:
        model: as the user's build returned it.
        kept: whether our loops train this very object, not a model around it; they call its own steps.
        where: file and line of build.

    Raises:
        UserModelError: a method of its class would not be used; says what to do instead.
    """
    own = _own(model)
    for name in INSTEAD:
        if name in own and own[name] is not vars(model).get(name):  # compile() sets loss and optimizer
            raise UserModelError(
                f"{_place(own[name], where)}: class {type(model).__name__} has its own {name}, which would not be "
                f"used; {INSTEAD[name]}"
            )
    compiled = bool(getattr(model, "compiled", False))
    hooks = tuple(own_methods(model, BY_FIT))
    if "compile" in hooks and not compiled:
        raise UserModelError(
            f"{_place(own['compile'], where)}: class {type(model).__name__} has its own compile() with arguments of "
            "its own; expected build to call it, because nothing else knows them; call it before returning the model"
        )
    by_our_loops = kept and not compiled and set(hooks) <= set(CALLED)
    if by_our_loops or not (hooks or compiled or model.metrics):
        return None
    return OwnTraining(model, hooks, compiled)


def keep_own_training(model: Any, own: OwnTraining | None) -> Any:
    """The model, which knows from now on how it trains by itself; see `own_training`."""
    if own is not None:
        vars(model)[KEPT] = own  # Keras would make a part of the model of what is set as usual
    return model


def own_training(model: Any) -> OwnTraining | None:
    """How a built model trains by itself, or None."""
    own: OwnTraining | None = vars(model).get(KEPT)
    return own


@contextlib.contextmanager
def uncompiled(model: Any) -> Iterator[None]:
    """A model as if nothing had compiled it: what it trains with is not stored."""
    own = own_training(model)
    if own is None or not own.compiled:
        yield
        return
    own.model.compiled = False
    try:
        yield
    finally:
        own.model.compiled = True


KEPT = "_trains_by_itself"


def require_steps(model: Any, used: Mapping[str, bool]) -> None:
    """Refuse a model that trains by itself where an option trains in another way.

    Args:
        model: as built.
        used: whether the model's own steps are used, by option.

    Raises:
        UserModelError: names the steps and the option.
    """
    own = own_training(model)
    found = own.why if own is not None else ""
    if own is None and own_methods(model):
        found = f"class {type(model).__name__} has its own {', '.join(own_methods(model))}"
    for option, ours in used.items():
        if found and not ours:
            raise UserModelError(
                f"{found}, and option {option} trains by other steps; expected one of the two; leave one out"
            )


def _compiled(model: Any) -> str:
    """What a model was compiled with, in words."""
    optimizer, loss = getattr(model, "optimizer", None), getattr(model, "loss", None)
    parts = [f"optimizer {type(optimizer).__name__}"] if optimizer is not None else []
    parts += [f"loss {loss_name(loss)}"] if loss is not None else []
    return " and ".join(parts) or "settings of its own"


def loss_name(loss: Any) -> str:
    """The name of what a model was compiled with as its loss."""
    return loss if isinstance(loss, str) else str(getattr(loss, "__name__", type(loss).__name__))


def _place(method: Any, where: str) -> str:
    """File and line of a method, where it is in the user's file."""
    code = getattr(getattr(method, "fget", method), "__code__", None)
    path = where.rpartition(":")[0]
    return f"{path}:{code.co_firstlineno}" if code is not None and code.co_filename == path else where
