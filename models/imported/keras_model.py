"""A trained `.keras` file: loaded without running code of the file, its inputs by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegate.models.errors import UserModelError, one_line
from tidegate.models.keras_private import graph_of
from tidegate.models.preprocessing.raw_inputs import ModelInput


def load_keras(path: Path, own: Mapping[str, Any]) -> Any:
    """Load a file that `serving.untrusted` has checked, as a functional model whose inputs are a dict.

    Args:
        path: the file.
        own: the user's classes and functions by name.

    Raises:
        UserModelError: it cannot be loaded, or has several outputs.
    """
    import keras

    try:
        model = keras.models.load_model(path, custom_objects=dict(own), compile=False, safe_mode=True)
    except Exception as error:
        raise UserModelError(
            f"{path.name} cannot be loaded: {one_line(error)[:500]}; expected a file saved by Keras 3; if it has "
            "classes of yours, name the file that defines them as model.file"
        ) from error
    model = _by_name(model, path)
    if len(model.outputs) != 1:
        names = ", ".join(str(tuple(answer.shape)) for answer in model.outputs)
        raise UserModelError(
            f"{path.name} has {len(model.outputs)} outputs, of shapes {names}; expected one; save a model that ends "
            "with the one to serve"
        )
    return model


def inputs_of_keras(model: Any) -> list[ModelInput]:
    """The inputs of a functional model."""
    return [ModelInput(one.name, tuple(one.shape[1:]), _dtype(one.dtype)) for one in model.inputs]


def _dtype(dtype: str) -> str:
    return "str" if dtype == "string" else dtype


def _by_name(model: Any, path: Path) -> Any:
    """The same model with its inputs as a dict by their names, so that their order means nothing."""
    import keras

    graph = graph_of(model)
    if graph is not None:
        outputs = graph.outputs[0] if len(graph.outputs) == 1 else graph.outputs
        return keras.Model({one.name: one for one in graph.inputs}, outputs, name=model.name)
    shapes = _shapes(model, path)
    tensors = {name: keras.Input(shape[1:], name=name) for name, shape in shapes.items()}
    given = tensors if len(tensors) > 1 else next(iter(tensors.values()))
    return keras.Model(tensors, model(given), name=f"{model.name}_by_name")


def _shapes(model: Any, path: Path) -> dict[str, tuple[int | None, ...]]:
    """The inputs of a subclassed model, as Keras kept them when it was built."""
    built = model.get_build_config() or {}
    shape = built.get("input_shape")
    if isinstance(shape, Mapping):
        return {str(name): tuple(sizes) for name, sizes in shape.items()}
    if shape:
        return {"input": tuple(shape)}
    raise UserModelError(
        f"{path.name} has a model of class {type(model).__name__}, and does not say what its inputs are; expected a "
        "functional model, or one that was called before it was saved; save it again after a call"
    )
