"""The private names of Keras that are used here, in one file: no public way was found for any of them.

tests/test_private_names.py names each with the version it was read in, and fails when Keras changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What Keras' activations and layers write beside a tensor's numbers, and its losses read.
BESIDE = ("_keras_logits", "_keras_mask")


def all_layers(model: Any) -> list[Any]:
    """A model and the layers within it, at any depth; `model.layers` has the outermost only."""
    layers: list[Any] = model._flatten_layers()
    return layers


def operation_of(tensor: Any) -> Any:
    """The operation whose call gave a symbolic tensor."""
    return tensor._keras_history.operation


def mask_of(tensor: Any) -> Any:
    """Which places of a tensor count; None where all do."""
    return getattr(tensor, "_keras_mask", None)


def global_seed() -> Any:
    """The state of random numbers that belong to no layer; it is made at the first call, from Python's seed."""
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator().state


def promotions() -> dict[str, str]:
    """Keras' own table of what a type of 64 bits becomes on this backend; changes of it count."""
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

    table: dict[str, str] = BIT64_TO_BIT32_DTYPE
    return table


def tensorflow_random() -> Any:
    """The module from which Keras draws on TensorFlow."""
    from keras.src.backend.tensorflow import random

    return random


@contextmanager
def calling(model: Any) -> Iterator[None]:
    """Within it all is as in a call of the model: penalties on activities are counted from zero."""
    model._get_call_context()
    try:
        yield
    finally:
        model._maybe_reset_call_context()


@contextmanager
def given_moments(layer: Any, moments: tuple[Any, Any]) -> Iterator[None]:
    """Within it a BatchNormalization takes this mean and variance for those of its batch."""
    vars(layer)["_moments"] = lambda *_: moments
    try:
        yield
    finally:
        del vars(layer)["_moments"]


def graph_of(operation: Any) -> Any:
    """The graph of operations that a layer is; None where it is something else."""
    from keras import Sequential
    from keras.src.models.functional import Functional

    if type(operation) is Sequential:
        return operation._functional
    return (
        operation if isinstance(operation, Functional) and type(operation).call is Functional.call else None
    )


def standardized(graph: Any, inputs: Any) -> list[Any]:
    """A graph's inputs as its operations want them, in their order."""
    flat: list[Any] = graph._standardize_inputs(inputs)
    return flat


def run_graph(graph: Any, inputs: list[Any], instead: Callable[[Any], Any]) -> Any:
    """What a graph gives when each of its operations is replaced by what `instead` makes of it."""
    return graph._run_through_graph(inputs, instead)


def in_mode(operation: Any, training: bool | None) -> Callable[..., Any]:
    """An operation that is told whether it is trained, where it asks for that."""
    from keras.src.models.functional import operation_fn

    call: Callable[..., Any] = operation_fn(operation, training=training)
    return call
