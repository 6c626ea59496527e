"""The user's own model file: imported, called and checked; every error names file and line."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError, UserModelError, one_line
from tidegate.models.keras_private import all_layers
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.model_inputs import ModelInputs, UnknownInputError
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.own_training import require_no_own_training
from tidegate.models.networks.probabilities import require_logits

SHAPE = "def build(inputs, outputs, **options): return keras.Model(inputs, outputs.layer(x))"


def require_file(path: Path) -> None:
    """Refuse a model file that does not exist or is not a Python file.

    Raises:
        UserModelError: says what was expected.
    """
    if not path.is_file():
        raise UserModelError(
            f"model file {path} does not exist; expected a Python file with {SHAPE}; correct model.file"
        )
    if path.suffix != ".py":
        raise UserModelError(
            f"model file {path} is not a .py file; expected a Python file with {SHAPE}; correct model.file"
        )


def build_user_model(path: Path, inputs: Inputs, outputs: Outputs, options: Mapping[str, Any]) -> Any:
    """Return the `keras.Model` from the file's `build(inputs, outputs, **options)`.

    Raises:
        UserModelError: the file cannot be imported, has no `build`, or `build` raises or returns something other than a
            model from these inputs to (rows, outputs.units).
        OptionsError: an option is not an argument of `build`, or a required one is missing.
    """
    build = _import(path)
    _check_options(build, options, path)
    given = replace(outputs, activation="linear", logits=False) if outputs.logits else outputs
    try:
        model = build(ModelInputs(inputs.tensors, inputs.specs), given, **options)
    except (Exception, SystemExit) as error:
        raise _user_error(path, error, "build() raised") from error
    where = f"{path}:{inspect.getsourcelines(build)[1]}"
    model = _checked(model, inputs, given, where)
    if not outputs.logits:
        return model
    require_logits(model, where)
    return outputs.with_probabilities(model)


def _module(path: Path) -> ModuleType:
    require_file(path)
    spec = importlib.util.spec_from_file_location("tidegate_user_model", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserModelError(f"{error.filename or path}:{error.lineno}: syntax error: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise _user_error(path, error, "importing the file raised") from error
    return module


def _import(path: Path) -> Callable[..., Any]:
    module = _module(path)
    build = getattr(module, "build", None)
    if not inspect.isfunction(build):
        names = [name for name, member in vars(module).items() if inspect.isfunction(member)]
        raise UserModelError(
            f"{path}:1: the file defines {', '.join(names) or 'no function'} and no function build; expected {SHAPE}; "
            "add it"
        )
    return build


def custom_objects(path: Path) -> dict[str, Any]:
    """The classes and functions that a model file defines, by name; Keras needs them to load a model."""
    module = _module(path)
    members = vars(module).items()
    return {
        name: one
        for name, one in members
        if callable(one) and getattr(one, "__module__", "") == module.__name__
    }


def _check_options(build: Callable[..., Any], options: Mapping[str, Any], path: Path) -> None:
    parameters = inspect.signature(build).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    named = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    where = f"{path}:{inspect.getsourcelines(build)[1]}"
    if len(named) < 2 and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise UserModelError(f"{where}: build takes {named}; expected {SHAPE}; correct its arguments")
    accepted = named[2:]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for key in options:
            if key not in accepted:
                raise OptionsError(f"{where}: build has no option {key!r}{did_you_mean(key, accepted)}")
    for name in accepted:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise OptionsError(
                f"{where}: build needs the option {name!r}; expected a value; add `{name}: ...` under `model:`"
            )


def _checked(model: Any, inputs: Inputs, outputs: Outputs, where: str) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise UserModelError(
            f"{where}: build returned {_described(model)}; expected a keras.Model; write it as {SHAPE}"
        )
    whole = bool(getattr(model, "inputs", None)) and _known_inputs(model, inputs)
    require_no_own_training(model, whole, where)
    if not whole:
        model = _wrapped(model, inputs, where)
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Lambda):
            raise UserModelError(
                f"{where}: the model has the Lambda layer {layer.name!r}; expected none, because its code cannot be "
                "stored safely with the weights; call functions of keras.ops on the tensors instead"
            )
    answers = model.outputs
    # A text model predicts the next token after each step.
    steps: tuple[int | None, ...] = (None,) if inputs.of_kind("prefix") else ()
    if outputs.grids:
        steps = (outputs.boxes(*next(iter(inputs.of_kind("image").values())).shape[1:3]),)
    if len(answers) != 1 or tuple(answers[0].shape) != (None, *steps, outputs.units):
        received = ", ".join(str(tuple(answer.shape)) for answer in answers)
        raise UserModelError(
            f"{where}: build returned a model with output shape {received}; expected one output of shape "
            f"{(None, *steps, outputs.units)}; end it with outputs.layer(x) on features of shape "
            f"({', '.join(['None', *map(str, steps), 'any'])})"
        )
    return model


def _known_inputs(model: Any, inputs: Inputs) -> bool:
    return all(any(tensor is known for known in inputs.tensors.values()) for tensor in model.inputs)


def _wrapped(model: Any, inputs: Inputs, where: str) -> Any:
    """Call a Sequential or subclassed model, which was not built on the given inputs, on them."""
    import keras

    tensors = inputs.tensors
    received = next(iter(tensors.values())) if len(tensors) == 1 else tensors
    try:
        return keras.Model(tensors, model(received), name="user_model")
    except Exception as error:
        cause = _short(error)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise UserModelError(
            f"{where}: the model that build returned does not take the inputs {shapes}: {cause}; expected a model of "
            "these inputs; correct its first layers"
        ) from error


def _user_error(path: Path, error: BaseException, what: str) -> UserModelError:
    line = _line_in(path, error.__traceback__)
    return UserModelError(f"{path}:{line}: {what} {type(error).__name__}: {_short(error)}")


def _line_in(path: Path, trace: TracebackType | None) -> int:
    """The line in the innermost frame of the user's own file; deeper frames are in a library that it calls."""
    line = 1
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _short(error: BaseException) -> str:
    most = 3000 if isinstance(error, UnknownInputError) else 500
    return one_line(error)[:most] or "no message"


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (
        f" of shape {tuple(shape)}" if shape is not None else f" ({value!r})"[:80]
    )
