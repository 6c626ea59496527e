"""Conversion of a Keras model to the equations: the same layers with the same weights, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tidegate.models.equations import Array
from tidegate.models.equations.activations import ACTIVATIONS
from tidegate.models.equations.layers import (
    Activate,
    Concatenate,
    Convolution,
    Dense,
    Dropout,
    Layer,
    Lstm,
    Pooling,
    Recurrent,
    Reshape,
)
from tidegate.models.equations.network import Network, Node
from tidegate.models.errors import OptionsError


class ConvertedNetwork:
    """A network of equations with the same outputs as a Keras model; it can write its weights back.

    Args:
        model: a functional Keras model of layers in `EQUATIONS`.
        seed: seeds Dropout.

    Raises:
        OptionsError: a layer, or an option of it, has no equation here; names it and the supported ones.
    """

    def __init__(self, model: Any, seed: int) -> None:
        for layer in model.operations:  # first, because other checks report consequences of such a layer
            if type(layer).__name__ not in EQUATIONS:
                raise _unknown(f"layer {layer.name!r} ({type(layer).__name__})")
        self.random = np.random.default_rng([seed, 1])  # of every Dropout
        self._pairs = [(layer, _equations(layer, self.random)) for layer in model.operations]
        _refuse_others(model)
        nodes = [node for layer, chain in self._pairs if chain for node in _nodes(layer, chain)]
        names = [_name(tensor) for tensor in model.inputs]
        made = {*names, *(node.output for node in nodes)}
        read = {name for node in nodes for name in node.inputs} | {_name(model.outputs[0])}
        if not read <= made or nodes[-1].output != _name(model.outputs[0]):
            raise _unknown("a layer that is used twice")
        self._inputs = {tensor.name: name for tensor, name in zip(model.inputs, names, strict=True)}
        self.network = Network(names, nodes)

    def inputs(self, inputs: dict[str, np.ndarray]) -> dict[str, Array]:
        """Return model inputs by the network's names, as float64."""
        return {self._inputs[name]: array.astype(np.float64) for name, array in inputs.items()}

    def write(self) -> None:
        """Copy the current weights to the Keras model, rounded to its float32."""
        for layer, chain in self._pairs:
            if layer.weights and chain:
                layer.set_weights([parameter for step in chain for parameter in step.parameters])


def _refuse_others(model: Any) -> None:
    if model.losses:
        raise _unknown("a penalty on weights (l2)")
    if model.non_trainable_weights:
        raise _unknown(
            f"the weight {model.non_trainable_weights[0].path!r}, which is not learned by a gradient"
        )


def _unknown(what: str) -> OptionsError:
    known = ", ".join(name for name in EQUATIONS if name != "InputLayer")
    return OptionsError(
        f"option 'training.backend' is 'numpy', which has no equation for {what}; expected one of: {known}, with "
        f"the activations {', '.join(ACTIVATIONS)}; leave it out of the model, or leave backend out"
    )


def _name(tensor: Any) -> str:
    """A unique name for a tensor: names of Keras tensors may be equal, identities are not."""
    return str(id(tensor))


def _nodes(layer: Any, chain: list[Layer]) -> list[Node]:
    """A Keras layer as its equations, one after the other."""
    given = layer.input if isinstance(layer.input, list) else [layer.input]
    inputs, nodes = tuple(_name(tensor) for tensor in given), []
    for place, step in enumerate(chain):
        last = place == len(chain) - 1
        output = _name(layer.output) if last else f"{_name(layer.output)}.{place}"
        nodes.append(Node(step, inputs, output))
        inputs = (output,)
    return nodes


def _equations(layer: Any, random: np.random.Generator) -> list[Layer]:
    return EQUATIONS[type(layer).__name__](layer, layer.get_config(), random)


def _require(layer: Any, config: dict[str, Any], **expected: Any) -> None:
    for key, value in expected.items():
        found = tuple(config[key]) if isinstance(config[key], list) else config[key]
        if found != value:
            raise _unknown(
                f"{key}: {found} of layer {layer.name!r} ({type(layer).__name__}), only for {value}"
            )


def _activation(layer: Any, config: dict[str, Any]) -> list[Layer]:
    name = config["activation"]
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise _unknown(f"activation {name!r} of layer {layer.name!r}")
    return [] if name == "linear" else [Activate(ACTIVATIONS[name])]


def _weights(layer: Any) -> list[Array]:
    return [np.array(weight, dtype=np.float64) for weight in layer.get_weights()]


def _dense(layer: Any, config: dict[str, Any], _: Any) -> list[Layer]:
    _require(layer, config, use_bias=True)
    return [Dense(*_weights(layer)), *_activation(layer, config)]


def _convolution(layer: Any, config: dict[str, Any], _: Any) -> list[Layer]:
    plain = {"strides": (1, 1), "dilation_rate": (1, 1), "groups": 1, "data_format": "channels_last"}
    _require(layer, config, use_bias=True, **plain)
    kernel, bias = _weights(layer)
    return [Convolution(kernel, bias, config["padding"]), *_activation(layer, config)]


def _pooling(kind: str) -> Callable[..., list[Layer]]:
    def equations(layer: Any, config: dict[str, Any], _: Any) -> list[Layer]:
        size = config["pool_size"][0]
        square = {"pool_size": (size, size), "strides": (size, size)}
        _require(layer, config, padding="valid", data_format="channels_last", **square)
        return [Pooling(kind, size)]

    return equations


def _through_time(kind: type[Recurrent] | type[Lstm]) -> Callable[..., list[Layer]]:
    def equations(layer: Any, config: dict[str, Any], _: Any) -> list[Layer]:
        plain = dict.fromkeys(("go_backwards", "stateful", "return_state"), False)
        gates = {"recurrent_activation": "sigmoid"} if kind is Lstm else {}
        dropout = {"dropout": 0.0, "recurrent_dropout": 0.0}
        _require(layer, config, use_bias=True, activation="tanh", **plain, **gates, **dropout)
        weights, recurrent_weights, bias = _weights(layer)
        return [kind(weights, recurrent_weights, bias, every_state=config["return_sequences"])]

    return equations


def _concatenate(layer: Any, config: dict[str, Any], _: Any) -> list[Layer]:
    _require(layer, config, axis=-1)
    return [Concatenate()]


EQUATIONS: dict[str, Callable[[Any, dict[str, Any], np.random.Generator], list[Layer]]] = {
    "InputLayer": lambda *_: [],
    "Dense": _dense,
    "Conv2D": _convolution,
    "MaxPooling2D": _pooling("max"),
    "AveragePooling2D": _pooling("average"),
    "SimpleRNN": _through_time(Recurrent),
    "LSTM": _through_time(Lstm),
    "Activation": lambda layer, config, _: _activation(layer, config),
    "Flatten": lambda layer, *_: [Reshape(layer.output.shape[1:])],
    "Reshape": lambda layer, *_: [Reshape(layer.output.shape[1:])],
    "Concatenate": _concatenate,
    "Dropout": lambda _, config, random: [Dropout(config["rate"], random)],
}
