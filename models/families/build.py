"""A model from an experiment's `model:` part: a family by name, or the user's own file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.models.config.options import parse_options
from tidegate.models.errors import ModelsError, OptionsError
from tidegate.models.families import FAMILIES, family, tasks_of
from tidegate.models.keras_private import promotions
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import InputSpec


def check_model(model: Mapping[str, Any]) -> None:
    """Refuse a wrong `model:` part without importing Keras; a user's file is only looked for.

    Raises:
        UnknownFamilyError: no family of that name.
        OptionsError: neither or both of family and file are given, or an option is unknown or wrong.
        UserModelError: the file is not there.
    """
    from tidegate.models.networks.user_model import require_file

    options = dict(model)
    name, file = options.pop("family", None), options.pop("file", None)
    if (name is None) == (file is None):
        raise OptionsError(
            f"The model has {sorted(model)}. Expected exactly one of `family: mlp` and `file: ./my_model.py`."
        )
    if file is not None:
        require_file(Path(file))
    else:
        parse_options(family(str(name)).Options, options, "model")


def check_task(model: Mapping[str, Any], task: str | None) -> None:
    """Refuse a family that does not fit a stated task, before any data is read.

    Raises:
        OptionsError: it is not made for it; those that are are named.
    """
    name = model.get("family")
    if name is None or task is None or task in tasks_of(str(name)):
        return
    fitting = [known for known in FAMILIES if task in tasks_of(known)]
    raise OptionsError(f"Family {name!r} is not made for a {task}. Expected one of: {', '.join(fitting)}.")


def build_model(
    model: Mapping[str, Any],
    specs: Mapping[str, InputSpec],
    outputs: Outputs,
    seed: int,
    precision: str = "float32",
) -> Any:
    """Return the untrained `keras.Model`, with the same first weights for the same seed.

    Args:
        model: {"family": name, ...options} or {"file": path, ...options of its build}.
        specs: the model's inputs by name.
        outputs: what the model has to answer.
        seed: seed of Python, NumPy and TensorFlow; sets them all.
        precision: "float32", "float64", "mixed_float16" or "mixed_bfloat16".

    Raises:
        UnknownFamilyError, OptionsError: see `check_model`; also an input kind the family cannot take.
        UserModelError: the user's file does not give a model that fits; names file and line.
    """
    import keras

    check_model(model)
    repeatable(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        with computing_in(precision):
            return _built(dict(model), Inputs(specs), outputs)
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Within it, "float64" is what Keras computes in: layers, and losses, metrics and optimizers, which others leave.

    Use it around all that is done with a model of that precision: outside of it JAX would cut its numbers to float32.
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
        promoted["float64"] = "float64"  # on JAX and torch Keras makes it float32, as JAX does by itself
        yield


def _built(options: dict[str, Any], inputs: Inputs, outputs: Outputs) -> Any:
    from tidegate.models.networks.user_model import build_user_model

    if "file" in options:
        return build_user_model(Path(options.pop("file")), inputs, outputs, options)
    name = str(options.pop("family"))
    chosen = family(name)
    _check_prefix(name, inputs)
    _check_boxes(name, outputs)
    try:
        return chosen.build(inputs, outputs, parse_options(chosen.Options, options, "model"))
    except ModelsError:
        raise
    except ValueError as error:  # a combination of options and shapes that a layer refuses
        raise OptionsError(f"Family {name!r} cannot be built with {options}: {error}") from error


def _check_prefix(name: str, inputs: Inputs) -> None:
    prefixes = ", ".join(inputs.of_kind("prefix"))
    if prefixes and "generation" not in tasks_of(name):
        writers = " or ".join(repr(known) for known in FAMILIES if "generation" in tasks_of(known))
        raise OptionsError(
            f"Family {name!r} cannot take input {prefixes!r}, the text to answer. Use family {writers}, or a "
            "target that is no text."
        )
    if tasks_of(name) == ("generation",) and not prefixes:
        have = ", ".join(f"{name} ({spec.kind}, {spec.shape})" for name, spec in inputs.specs.items())
        raise OptionsError(
            f"Family {name!r} answers a text; the target is none, and the inputs are {have}. State "
            "data.task: generation, or use another family."
        )


def _check_boxes(name: str, outputs: Outputs) -> None:
    if bool(outputs.grids) != ("detection" in tasks_of(name)):
        finders = " or ".join(repr(known) for known in FAMILIES if "detection" in tasks_of(known))
        raise OptionsError(
            f"Family {name!r} answers {'no ' if outputs.grids else ''}boxes, and the target is "
            f"{'boxes' if outputs.grids else 'none'}. Use family {finders} for a target of kind boxes, and another one "
            "else."
        )


def repeatable(seed: int) -> None:
    """Seed Python, NumPy and the backend, and let it use only operations that repeat to the bit.

    On a GPU float32 is float32 then: TensorFloat-32, which some of them take on their own, keeps ten bits of what is
    multiplied, and what is served on a CPU could not be proved equal.
    """
    import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif keras.backend.backend() == "jax":
        import jax

        settings: Any = jax.config
        settings.update("jax_default_matmul_precision", "highest")
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.allow_tf32 = False


def as_float32(
    model: Any, options: Mapping[str, Any], specs: Mapping[str, InputSpec], outputs: Outputs
) -> Any:
    """Return a trained model that computes in float32: itself, or one of the same weights.

    Use it after training in another precision, before anything is saved, exported or predicted: what is served then
    answers to the last digit what was evaluated. Under mixed precision the weights are float32 anyway; those of
    float64 are rounded.

    Args:
        model: the trained model.
        options, specs, outputs: what `build_model` made it from.
    """
    if all(layer.compute_dtype == layer.variable_dtype == "float32" for layer in model.layers):
        return model
    twin = build_model(options, specs, outputs, seed=0)
    twin.set_weights(model.get_weights())
    return twin
