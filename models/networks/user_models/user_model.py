"""The user's own model file: imported, called and checked; every error names file and line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError, UserModelError, one_line
from tidegate.models.keras_private import all_layers
from tidegate.models.networks.compiled_loss import as_compiled
from tidegate.models.networks.heads.output_shapes import require_output, with_named_outputs
from tidegate.models.networks.heads.probabilities import require_logits
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.several_outputs import AnyOutputs, SeveralOutputs
from tidegate.models.networks.user_models.model_inputs import ModelInputs, UnknownInputError
from tidegate.models.networks.user_models.own_training import keep_own_training, own_training, own_training_of
from tidegate.models.networks.user_models.whole_model import has_named_inputs, makes_whole_model, on_columns
from tidegate.models.user_code.model_source import SHAPE, model_module, own_source, user_error
from tidegate.models.user_code.references import load_reference

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import InputSpec

STRING_LAYERS = ("TextVectorization", "StringLookup")


def build_user_model(model: Mapping[str, Any], inputs: Inputs, outputs: AnyOutputs) -> Any:
    """Return the `keras.Model` from the user's `build(inputs, outputs, **options)`.

    A function of the project without these two arguments makes a model by itself, see
    `networks.user_models.whole_model`.

    Args:
        model: {"file": path, **options} or {"function": "package.module:name", **options}.

    Raises:
        UserModelError: the file cannot be imported, has no `build`, or `build` raises or returns something other than a
            model from these inputs to (rows, outputs.units).
        UserCodeError: the function cannot be found or imported.
        OptionsError: an option is not an argument of `build`, or a required one is missing.
    """
    options = dict(model)
    file, function = options.pop("file", None), options.pop("function", None)
    build = _build_in(Path(file)) if file else load_reference(str(function), "model.function")
    path = own_source(model) or Path()
    by_itself = function is not None and makes_whole_model(build)
    _check_options(build, options, path, by_itself)
    logits = isinstance(outputs, Outputs) and outputs.logits
    given = replace(outputs, activation="linear", logits=False) if logits else outputs
    try:
        first = () if by_itself else (ModelInputs(inputs.tensors, inputs.specs), given)
        made = build(*first, **options)
    except (Exception, SystemExit) as error:
        most = 3000 if isinstance(error, UnknownInputError) else 500
        raise user_error(path, error, "build() raised", most) from error
    where = _where(build, path)
    made = _checked(made, inputs, given, where)
    own = own_training(made)
    answered = own.outputs if own is not None and own.outputs is not None else outputs
    if not isinstance(answered, Outputs) or not answered.logits:
        return made
    require_logits(made, where)
    return keep_own_training(answered.with_probabilities(made), own)


def _require_strings(layer: Any, inputs: Inputs, where: str) -> None:
    """Refuse a layer that reads strings and is given the ids of a text, which it takes without a word until it runs."""
    texts = list(inputs.of_kind("text"))
    if not texts or type(layer).__name__ not in STRING_LAYERS:
        return
    try:
        given = str(layer.input.dtype)
    except (AttributeError, ValueError):  # it is called several times
        return
    if given != "string":
        raise UserModelError(
            f"{where}: layer {layer.name!r} ({type(layer).__name__}) reads strings, and input {texts[0]!r} has the "
            f"ids of its words ({given}); expected the strings themselves; set data.inputs: "
            f"[{{name: {texts[0]}, kind: string}}]"
        )


def _build_in(path: Path) -> Callable[..., Any]:
    module = model_module(path)
    build = getattr(module, "build", None)
    if not inspect.isfunction(build):
        names = [name for name, member in vars(module).items() if inspect.isfunction(member)]
        raise UserModelError(
            f"{path}:1: the file defines {', '.join(names) or 'no function'} and no function build; expected {SHAPE}; "
            "add it"
        )
    return build


def _where(build: Callable[..., Any], path: Path) -> str:
    """File and line of the function; its first line where Python does not know it, as of an object that is called."""
    try:
        return f"{path}:{inspect.getsourcelines(inspect.unwrap(build))[1]}"
    except (OSError, TypeError):
        return f"{path}:1"


def _check_options(
    build: Callable[..., Any], options: Mapping[str, Any], path: Path, by_itself: bool
) -> None:
    parameters = inspect.signature(build).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    named = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    where = _where(build, path)
    if not by_itself and len(named) < 2 and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise UserModelError(f"{where}: build takes {named}; expected {SHAPE}; correct its arguments")
    accepted = named if by_itself else named[2:]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for key in options:
            if key not in accepted:
                raise OptionsError(f"{where}: build has no option {key!r}{did_you_mean(key, accepted)}")
    for name in accepted:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise OptionsError(
                f"{where}: build needs the option {name!r}; expected a value; add `{name}: ...` under `model:`"
            )


def adopt_model(model: Any, specs: Mapping[str, InputSpec], outputs: AnyOutputs, where: str) -> Any:
    """A trained model of a user's own loop as a model of the named inputs, with probabilities for logits.

    Args:
        model: what the loop returned.
        specs: of the model inputs.
        outputs: what the model must answer.
        where: the loop, for messages.

    Raises:
        UserModelError: it is no model, or of other inputs or outputs.
    """
    logits = isinstance(outputs, Outputs) and outputs.logits
    given = replace(outputs, activation="linear", logits=False) if logits else outputs
    made = _checked(model, Inputs(specs), given, where, trained=True)
    return outputs.with_probabilities(made) if isinstance(outputs, Outputs) and logits else made


def _checked(model: Any, inputs: Inputs, outputs: AnyOutputs, where: str, trained: bool = False) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise UserModelError(
            f"{where}: build returned {_described(model)}; expected a keras.Model; write it as {SHAPE}"
        )
    whole = bool(getattr(model, "inputs", None)) and _known_inputs(model, inputs)
    own = None if trained else own_training_of(model, whole, where)
    if not whole:
        model = _wrapped(model, inputs, where)
    if own is not None and own.compiled and isinstance(outputs, Outputs):
        own = as_compiled(own, model, outputs)
        outputs = own.outputs or outputs
    for layer in all_layers(model):
        _require_strings(layer, inputs, where)
        if isinstance(layer, keras.layers.Lambda):
            raise UserModelError(
                f"{where}: the model has the Lambda layer {layer.name!r}; expected none, because its code cannot be "
                "stored safely with the weights; call functions of keras.ops on the tensors instead"
            )
    if isinstance(outputs, SeveralOutputs):
        return keep_own_training(with_named_outputs(model, outputs, where), own)
    # A text model predicts the next token after each step.
    steps: tuple[int | None, ...] = (None,) if inputs.of_kind("prefix") else ()
    if outputs.grids:
        steps = (outputs.boxes(*next(iter(inputs.of_kind("image").values())).shape[1:3]),)
    require_output(model, outputs, steps, where)
    return keep_own_training(model, own)


def _known_inputs(model: Any, inputs: Inputs) -> bool:
    return all(any(tensor is known for known in inputs.tensors.values()) for tensor in model.inputs)


def _wrapped(model: Any, inputs: Inputs, where: str) -> Any:
    """Call a model that was not built on the given inputs on them, by the names of its own inputs where it has any."""
    import keras

    if has_named_inputs(model):
        return on_columns(model, inputs, where)
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


def _short(error: BaseException) -> str:
    return one_line(error)[:500] or "no message"


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (
        f" of shape {tuple(shape)}" if shape is not None else f" ({value!r})"[:80]
    )
