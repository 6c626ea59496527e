"""Whether a user's model ends with what its target needs; a model of several outputs returns a dict of them."""

from __future__ import annotations

from typing import Any

from tidegate.models.errors import UserModelError
from tidegate.models.keras_private import answers_of
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.several_outputs import SeveralOutputs, by_name
from tidegate.models.networks.user_models.own_training import own_methods

Shape = tuple[int | None, ...]


def require_output(model: Any, outputs: Outputs, steps: Shape, where: str) -> None:
    """Refuse a model whose only output has another shape.

    Args:
        model: of the user's.
        outputs: what it must end with.
        steps: what stands before the width: of a text its steps, of a detection its default boxes.
        where: file and line.

    Raises:
        UserModelError: says both shapes.
    """
    answers = model.outputs
    if len(answers) == 1 and _fits(tuple(answers[0].shape), outputs, steps):
        return
    received = ", ".join(str(tuple(answer.shape)) for answer in answers)
    expected = _expected(outputs, steps)
    fix = (
        f"end it with outputs.layer(x) on features of shape ({', '.join(['None', *map(str, steps), 'any'])})"
        if outputs.shape is None
        else "end it with a layer of that shape, such as a convolution with padding 'same'"
    )
    raise UserModelError(
        f"{where}: build returned a model with output shape {received}; expected one output of shape "
        f"{expected}; {fix}"
    )


def with_named_outputs(model: Any, outputs: SeveralOutputs, where: str) -> Any:
    """Return a model whose outputs are a dict by name, in the order of the names.

    Raises:
        UserModelError: it has other outputs, or a list of them and a training step of its own.
    """
    answers = answers_of(model)
    found = by_name(outputs, answers)
    wrong = (
        []
        if found is None
        else [name for name in outputs if not _fits(_shape(found[name]), outputs[name], ())]
    )
    if found is None or wrong:
        wanted = ", ".join(f"{name}: {_expected(head, ())}" for name, head in outputs.items())
        raise UserModelError(
            f"{where}: build returned a model with the outputs {_described(answers)}; expected {{{wanted}}}; return "
            "keras.Model(inputs, {name: tensor for each}), or a list in the order of data.target; "
            "outputs[name].layer(x) is a last layer that fits"
        )
    if isinstance(answers, dict):
        return model
    own = own_methods(model)
    if own:
        raise UserModelError(
            f"{where}: class {type(model).__name__} has its own {', '.join(own)} and returns a list of outputs; "
            f"expected a dict by their names, {', '.join(outputs)}; return one"
        )
    import keras

    return keras.Model({tensor.name: tensor for tensor in model.inputs}, found, name=model.name)


def _fits(shape: Shape, outputs: Outputs, steps: Shape) -> bool:
    """Whether the shape is as expected; a size that the model leaves free fits."""
    return any(
        len(shape) == len(expected)
        and all(None in (a, b) or a == b for a, b in zip(shape, expected, strict=True))
        for expected in _allowed(outputs, steps)
    )


def _allowed(outputs: Outputs, steps: Shape) -> list[Shape]:
    if outputs.shape is None:
        return [(None, *steps, outputs.units)]
    whole: Shape = (None, *outputs.shape)
    if outputs.activation != "linear":
        return [(*whole, outputs.units)]
    return [whole, (*whole, 1), (None, outputs.units)]


def _expected(outputs: Outputs, steps: Shape) -> Shape:
    return _allowed(outputs, steps)[0]


def _shape(tensor: Any) -> Shape:
    return tuple(getattr(tensor, "shape", ()))


def _described(answers: Any) -> str:
    if isinstance(answers, dict):
        return "{" + ", ".join(f"{name}: {_shape(tensor)}" for name, tensor in answers.items()) + "}"
    listed = answers if isinstance(answers, list | tuple) else [answers]
    return "[" + ", ".join(str(_shape(tensor)) for tensor in listed) + "]"
