"""A model from an experiment's `model:` section: a family by name, or the user's own file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.models.config.options import parse_options
from tidegate.models.errors import ModelsError, OptionsError
from tidegate.models.families import FAMILIES, family, tasks_of
from tidegate.models.keras_private import promotions
from tidegate.models.networks.determinism import make_deterministic
from tidegate.models.networks.heads.token_mask import with_token_mask
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.several_outputs import AnyOutputs, SeveralOutputs
from tidegate.models.user_code.model_source import require_file

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import InputSpec


def check_model(model: Mapping[str, Any]) -> None:
    """Refuse a wrong `model:` section without importing Keras; of a user's file only the existence is checked.

    Raises:
        UnknownFamilyError: no family has that name.
        OptionsError: neither or both of family and file are given, or an option is unknown or wrong.
        UserModelError: the file does not exist.
    """
    options = dict(model)
    name, *own = (options.pop(key, None) for key in ("family", "file", "function"))
    if sum(one is not None for one in (name, *own)) != 1:
        raise OptionsError(
            f"the model has the options {sorted(model)}; expected exactly one of `family: mlp`, "
            "`file: ./my_model.py` and `function: package.module:build`; add or remove one"
        )
    if own[0] is not None:
        require_file(Path(own[0]))
    elif name is not None:
        parse_options(family(str(name)).Options, options, "model")


def check_task(model: Mapping[str, Any], task: str | None) -> None:
    """Refuse a family that does not support a stated task, before any data is read.

    Raises:
        OptionsError: names the families that support the task.
    """
    name = model.get("family")
    if name is None or task is None or task in tasks_of(str(name)):
        return
    fitting = [known for known in FAMILIES if task in tasks_of(known)]
    raise OptionsError(
        f"family {name!r} does not support a {task}; expected one of: {', '.join(fitting)}; choose one of them"
    )


def build_model(
    model: Mapping[str, Any],
    specs: Mapping[str, InputSpec],
    outputs: AnyOutputs,
    seed: int,
    precision: str = "float32",
) -> Any:
    """Return the untrained `keras.Model`; the same seed gives the same initial weights.

    Args:
        model: {"family": name, ...options}, or {"file": path, ...options of its build}, or with a "function".
        specs: the model's inputs by name.
        outputs: the model's outputs.
        seed: seeds Python, NumPy and the backend.
        precision: "float32", "float64", "mixed_float16" or "mixed_bfloat16".

    Raises:
        UnknownFamilyError, OptionsError: see `check_model`; also an input kind that the family cannot take.
        UserModelError, UserCodeError: the user's code does not build a model that fits; names file and line.
    """
    import keras

    check_model(model)
    make_deterministic(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        with precision_scope(precision):
            return _built(dict(model), Inputs(specs), outputs)
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def precision_scope(precision: str) -> Iterator[None]:
    """For "float64" let Keras compute everything in it: layers, losses, metrics and optimizers; else do nothing.

    Use it around everything done with a model of that precision: outside of it JAX would round to float32.
    """
    import keras

    if precision != "float64":
        yield
        return
    promoted = promotions()
    with ExitStack() as stack:
        if keras.backend.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        stack.callback(keras.config.set_dtype_policy, keras.config.dtype_policy())
        stack.callback(keras.config.set_floatx, keras.config.floatx())
        stack.callback(promoted.update, {"float64": promoted["float64"]})
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        promoted["float64"] = "float64"  # on JAX and torch Keras would promote it to float32
        yield


def _check_strings(options: Mapping[str, Any], inputs: Inputs) -> None:
    """Refuse strings where a model cannot take them: in a family, and outside of TensorFlow."""
    import keras

    for name in inputs.of_kind("string"):
        if "family" in options:
            raise OptionsError(
                f"family {options['family']!r} cannot take input {name!r}, which is strings; expected another kind; "
                "set kind: text, or use a model of your own with a TextVectorization layer"
            )
        if keras.backend.backend() != "tensorflow":
            raise OptionsError(
                f"input {name!r} is strings, and training.backend is {keras.backend.backend()!r}; expected tensorflow, "
                "because the others have no strings; set it, or kind: text"
            )


def _built(options: dict[str, Any], inputs: Inputs, outputs: AnyOutputs) -> Any:
    from tidegate.models.networks.user_models.user_model import build_user_model

    _check_strings(options, inputs)
    if "family" not in options:
        return _of_tokens(build_user_model(options, inputs, outputs), inputs, outputs)
    name = str(options.pop("family"))
    chosen, outputs = family(name), replace(outputs, logits=False)  # its last layer has the activation
    _check_dense(name, outputs)
    _check_prefix(name, inputs)
    _check_boxes(name, outputs)
    try:
        built = chosen.build(inputs, outputs, parse_options(chosen.Options, options, "model"))
        return _of_tokens(built, inputs, outputs)
    except ModelsError:
        raise
    except ValueError as error:  # a layer refuses this combination of options and shapes
        raise OptionsError(
            f"family {name!r} cannot be built with {options}: {error}; expected options that fit the inputs; change "
            "them"
        ) from error


def _of_tokens(model: Any, inputs: Inputs, outputs: AnyOutputs) -> Any:
    """The model itself; of a label for each token with the mask of those that there are."""
    if isinstance(outputs, SeveralOutputs) or not outputs.tokens:
        return model
    found = [
        name for name, spec in inputs.specs.items() if spec.kind == "text" and spec.shape == outputs.shape
    ]
    if len(found) != 1:  # which of them has the labels cannot be told by the specs
        raise OptionsError(
            f"the inputs {' and '.join(map(repr, found))} are texts of {inputs.specs[found[0]].shape[0]} tokens, as "
            "many as the target has labels; expected only the labelled one to be so long; state another length for "
            "the others"
        )
    return with_token_mask(model, found[0])


def _check_prefix(name: str, inputs: Inputs) -> None:
    prefixes = ", ".join(inputs.of_kind("prefix"))
    if prefixes and "generation" not in tasks_of(name):
        writers = " or ".join(repr(known) for known in FAMILIES if "generation" in tasks_of(known))
        raise OptionsError(
            f"family {name!r} cannot take input {prefixes!r}, the text to generate; expected another task; use family "
            f"{writers}, or a target that is not a text"
        )
    if tasks_of(name) == ("generation",) and not prefixes:
        have = ", ".join(f"{name} ({spec.kind}, {spec.shape})" for name, spec in inputs.specs.items())
        raise OptionsError(
            f"family {name!r} generates texts, and the inputs are {have}; expected a text as the target; set "
            "data.task: generation, or use another family"
        )


def _check_dense(name: str, outputs: AnyOutputs) -> None:
    """Refuse a class at each place, alone or among several outputs, which a family's last layer has not."""
    heads = list(outputs.values()) if isinstance(outputs, SeveralOutputs) else [outputs]
    for head in heads:
        if head.tokens and "tagging" not in tasks_of(name):
            fitting = " or ".join(repr(known) for known in FAMILIES if "tagging" in tasks_of(known))
            raise OptionsError(
                f"family {name!r} answers one class a row, and the target has a label for each token; expected one "
                f"that answers as many; use family {fitting}, or a model of your own"
            )
        at_places = head.shape is not None and head.activation != "linear" and not head.tokens
        several = isinstance(outputs, SeveralOutputs)
        if at_places and (several or "segmentation" not in tasks_of(name)):
            fitting = " or ".join(repr(known) for known in FAMILIES if "segmentation" in tasks_of(known))
            other = (
                "a model of your own" if several else f"family {fitting} of an image, or a model of your own"
            )
            raise OptionsError(
                f"family {name!r} answers one class a row, and the target has a class at each of {head.shape} places; "
                f"expected {other}; write it in a file, model: {{file: ./my_model.py}}"
            )
        if not at_places and tasks_of(name) == ("segmentation",):
            raise OptionsError(
                f"family {name!r} answers a class at each pixel of an image, and the "
                "target has none; expected a mask an image; set data.task: segmentation, or use another family"
            )


def _check_boxes(name: str, outputs: AnyOutputs) -> None:
    if bool(outputs.grids) != ("detection" in tasks_of(name)):
        finders = " or ".join(repr(known) for known in FAMILIES if "detection" in tasks_of(known))
        raise OptionsError(
            f"family {name!r} finds {'no ' if outputs.grids else ''}boxes, and the target has "
            f"{'' if outputs.grids else 'not '}kind boxes; expected a family that fits it; use family {finders} for "
            "boxes, and another one for anything else"
        )


def as_float32(
    model: Any, options: Mapping[str, Any], specs: Mapping[str, InputSpec], outputs: AnyOutputs
) -> Any:
    """Return a trained model that computes in float32: the model itself, or a copy with the same weights.

    Use it after training in another precision, before the model is saved, exported or evaluated, so that the served
    model is the evaluated one. Under mixed precision the weights are float32 anyway; float64 weights are rounded.

    Args:
        model: the trained model.
        options, specs, outputs: the arguments that `build_model` built it from.
    """
    if all(layer.compute_dtype == layer.variable_dtype == "float32" for layer in model.layers):
        return model
    copy = build_model(options, specs, outputs, seed=0)
    copy.set_weights(model.get_weights())
    return copy
