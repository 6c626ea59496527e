"""A model that the user's function makes as a whole: connected to the columns of the data by its inputs' names.

The columns reach it as they are encoded: a number of a transform of the user's own, or with `scale: none`, as it is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from tidegate.models.errors import UserModelError, nearest_name
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.user_models.model_inputs import ColumnTensors, described

UNNAMED = re.compile(
    r"keras_tensor(?:_\d+)?|input(?:_layer)?(?:_\d+)?"
)  # what Keras names an input without a name


def makes_whole_model(build: Callable[..., Any]) -> bool:
    """Whether a function makes a model with inputs of its own: it has no arguments `inputs` and `outputs`."""
    return not {"inputs", "outputs"} <= set(inspect.signature(build).parameters)


def has_named_inputs(model: Any) -> bool:
    """Whether a model knows its inputs and their author named one of them."""
    return any(not UNNAMED.fullmatch(tensor.name) for tensor in getattr(model, "inputs", None) or ())


def on_columns(model: Any, inputs: Inputs, where: str) -> Any:
    """Return a model of `inputs` that gives each input of `model` the column, or the input, of its name.

    A number `(rows, 1)` fits an input `(rows,)`, and is cast to its dtype, such as int32 for an Embedding.

    Args:
        model: a Functional or Sequential `keras.Model` that knows its inputs.
        inputs: of the data.
        where: file and line of the function.

    Raises:
        UserModelError: no column has an input's name, or another shape; says which there are.
    """
    import keras

    columns = ColumnTensors(inputs.tensors, inputs.specs)
    wanted = list(model.inputs)
    given = []
    for tensor in wanted:
        name = tensor.name
        if name not in inputs.tensors and name not in columns:
            near = nearest_name(name, [*inputs.tensors, *columns])
            raise UserModelError(
                f"{where}: the model has an input {name!r}, and the data has none; expected names of these: "
                f"{described(inputs.specs)}; {f'did you mean {near!r}? ' if near else ''}name the model's inputs as "
                "the columns"
            )
        part = inputs.tensors[name] if name in inputs.tensors else columns[name]
        given.append(_fitted(part, tensor, name, where))
    return keras.Model(
        inputs.tensors, model(given[0] if len(given) == 1 else _like(model, given)), name=model.name
    )


def _fitted(part: Any, wanted: Any, name: str, where: str) -> Any:
    """The tensor of a column in the shape and dtype of an input."""
    import keras

    shape, asked = tuple(part.shape[1:]), tuple(wanted.shape[1:])
    if shape == (1,) and asked == ():
        part, shape = keras.ops.squeeze(part, axis=-1), ()
    fits = len(shape) == len(asked) and all(
        size in (None, own) for own, size in zip(shape, asked, strict=True)
    )
    kind = keras.backend.standardize_dtype(wanted.dtype)
    if not fits or kind == "string":
        raise UserModelError(
            f"{where}: the model's input {name!r} is {kind} {(None, *asked)}, and that column is "
            f"{keras.backend.standardize_dtype(part.dtype)} {(None, *shape)}; expected one shape, and numbers; change "
            f"the input, or state the column's kind in data.inputs"
        )
    same = keras.backend.standardize_dtype(part.dtype) == kind
    return part if same else keras.ops.cast(part, kind)


def _like(model: Any, given: list[Any]) -> Any:
    """Tensors in the structure that the model takes: a list, or a dict by the names of its inputs."""
    structure = model.input
    if isinstance(structure, dict):
        places = {id(tensor): place for place, tensor in enumerate(model.inputs)}
        return {key: given[places[id(tensor)]] for key, tensor in structure.items()}
    return given
