"""What each layer of a model returns at inference, also within nested models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.models.keras_private import graph_of, in_mode, run_graph, standardized
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.predict import without_gradients


@dataclass(frozen=True)
class LayerValue:
    """One call of a layer or operation.

    Attributes:
        layer: with `name`.
        value: the tensor that it returned; the first of several.
        parents: the places of the calls whose results it received, in the list of all calls.
    """

    layer: Any
    value: Any
    parents: tuple[int, ...]


def layer_values(
    model: Any, inputs: Mapping[str, np.ndarray], see: Callable[[Any, Any], None] | None = None
) -> list[LayerValue]:
    """Call a model layer by layer, as it is called at inference.

    Args:
        model: a functional or sequential Keras model; of another one only the whole is called.
        inputs: model inputs by name, rows first.
        see: called with each layer and its value at once, so also before a later layer raises.

    Returns:
        The calls in order.
    """
    import keras

    calls: list[LayerValue] = []
    places: dict[int, int] = {}  # id of a tensor -> the call that returned it; all are kept alive in `calls`
    kept: list[Any] = []

    def note(layer: Any, given: Any, result: Any) -> None:
        received = [places[id(one)] for one in keras.tree.flatten(given) if id(one) in places]
        results = [one for one in keras.tree.flatten(result) if one is not None]
        if see is not None:
            see(layer, results[0])
        calls.append(LayerValue(layer, results[0], tuple(dict.fromkeys(received))))
        kept.extend(results)
        places.update({id(one): len(calls) - 1 for one in results})

    def instead(operation: Any) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            inner = graph_of(operation)
            if inner is not None and args:
                return run_graph(inner, standardized(inner, args[0]), instead)
            result = in_mode(operation, False)(*args, **kwargs)
            note(operation, (args, kwargs), result)
            return result

        return called

    graph, given = graph_of(model), inputs_of(model, inputs)
    with without_gradients():
        if graph is None:
            note(model, (), model(given, training=False))
        else:
            run_graph(graph, standardized(graph, given), instead)
    return calls
