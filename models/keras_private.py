"""All private names of Keras that are used here; none of them has a public equivalent.

tests/test_private_names.py lists each with the Keras version it was read in, and fails when Keras changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_registered: set[type] = set()
# Attributes of tensors that Keras' activations and layers set, and its losses read.
BESIDE = ("_keras_logits", "_keras_mask")


def all_layers(model: Any) -> list[Any]:
    """A model and all layers in it, at any depth; `model.layers` has only the outermost ones."""
    layers: list[Any] = model._flatten_layers()
    return layers


def register_tree(structure: type) -> None:
    """Let Keras look into a class of structures, which has `tree_flatten` and `tree_unflatten`; more than once is fine.

    On each backend Keras has another library for structures.
    """
    from keras.src.tree.tree_api import register_tree_node_class

    if structure not in _registered:
        register_tree_node_class(structure)
        _registered.add(structure)


def answers_of(model: Any) -> Any:
    """What a functional model returns, as symbolic tensors: one, a list or a dict of them."""
    return getattr(model, "_outputs_struct", model.outputs)


def operation_of(tensor: Any) -> Any:
    """The operation that returned a symbolic tensor."""
    return tensor._keras_history.operation


def mask_of(tensor: Any) -> Any:
    """A tensor's mask; None if it has none."""
    return getattr(tensor, "_keras_mask", None)


def logits_beside(tensor: Any) -> Any:
    """The logits that a softmax or sigmoid computed a tensor from; None if they are not known."""
    return getattr(tensor, "_keras_logits", None)


def keep_logits(tensor: Any, logits: Any) -> None:
    """Let `logits_beside` and Keras' losses know a tensor's logits, where it can carry them: on JAX it cannot."""
    with suppress(AttributeError):
        tensor._keras_logits = logits


def global_seed() -> Any:
    """The state of Keras' global seed generator, which is created at the first call from Python's seed."""
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator().state


def promotions() -> dict[str, str]:
    """Keras' own table of the dtypes that 64-bit dtypes become on this backend; changes to it take effect."""
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

    table: dict[str, str] = BIT64_TO_BIT32_DTYPE
    return table


def tensorflow_random() -> Any:
    """Keras' module of random functions on TensorFlow."""
    from keras.src.backend.tensorflow import random

    return random


@contextmanager
def calling(model: Any) -> Iterator[None]:
    """A context like a call of the model, so that activity penalties are reset."""
    model._get_call_context()
    try:
        yield
    finally:
        model._maybe_reset_call_context()


@contextmanager
def given_moments(layer: Any, moments: tuple[Any, Any]) -> Iterator[None]:
    """Let a BatchNormalization use this mean and variance in place of those of its batch."""
    vars(layer)["_moments"] = lambda *_: moments
    try:
        yield
    finally:
        del vars(layer)["_moments"]


def graph_of(operation: Any) -> Any:
    """The functional model that a layer is; None if it is something else."""
    from keras import Sequential
    from keras.src.models.functional import Functional

    if type(operation) is Sequential:
        return operation._functional
    return (
        operation if isinstance(operation, Functional) and type(operation).call is Functional.call else None
    )


def standardized(graph: Any, inputs: Any) -> list[Any]:
    """A graph's inputs in the form and order that its operations need."""
    flat: list[Any] = graph._standardize_inputs(inputs)
    return flat


def run_graph(graph: Any, inputs: list[Any], instead: Callable[[Any], Any]) -> Any:
    """The result of a graph in which each operation is replaced by `instead(operation)`."""
    return graph._run_through_graph(inputs, instead)


def in_mode(operation: Any, training: bool | None) -> Callable[..., Any]:
    """An operation with its `training` argument set, if it has one."""
    from keras.src.models.functional import operation_fn

    call: Callable[..., Any] = operation_fn(operation, training=training)
    return call
