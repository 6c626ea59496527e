"""Layers connected to a network: values flow forward, gradients back along the same edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.models.equations import Array
from tidegate.models.equations.layers import Layer


@dataclass(frozen=True)
class Node:
    """A layer, the names of the values it reads and the name of the one it makes."""

    layer: Layer
    inputs: tuple[str, ...]
    output: str


class Network:
    """A network without cycles.

    Args:
        inputs: names of its inputs.
        nodes: in topological order; the last one computes the output.

    Example:
        network = chain(Dense(w1, b1), Activate(ACTIVATIONS["relu"]), Dense(w2, b2))
        predictions = network.forward({"x": x}, training=True)
        network.backward(gradient)  # of the loss with respect to the predictions
    """

    def __init__(self, inputs: Sequence[str], nodes: Sequence[Node]) -> None:
        self.inputs, self.nodes = tuple(inputs), tuple(nodes)

    @property
    def parameters(self) -> list[Array]:
        """All parameters, first layer first; change the arrays in place."""
        return [parameter for node in self.nodes for parameter in node.layer.parameters]

    @property
    def gradients(self) -> list[Array]:
        """Of the loss with respect to each of `parameters`, after `backward`."""
        return [gradient for node in self.nodes for gradient in node.layer.gradients]

    def initialise(self, random: np.random.Generator) -> None:
        """Draw every weight matrix from `glorot_uniform`, and set every bias to zeros."""
        for parameter in self.parameters:
            parameter[...] = glorot_uniform(parameter.shape, random) if parameter.ndim > 1 else 0.0

    def forward(self, inputs: Mapping[str, Array], training: bool = False) -> Array:
        """Return the predictions (rows, units) for inputs by name, (rows, ...) each."""
        values = {name: inputs[name] for name in self.inputs}
        for node in self.nodes:
            node.layer.training = training
            values[node.output] = node.layer.forward(*(values[name] for name in node.inputs))
        return values[self.nodes[-1].output]

    def backward(self, gradient: Array) -> dict[str, Array]:
        r"""Backpropagation: set every layer's gradients from that of the predictions.

        A value read by several layers gets the sum of their gradients, by the chain rule
        \( \frac{\partial L}{\partial x} = \sum_k \frac{\partial L}{\partial z_k} \frac{\partial z_k}{\partial x} \).
        Source: [GBC] algorithm 6.2; Rumelhart, Hinton, Williams, 1986.

        Returns:
            The gradient for each input of the network.
        """
        of_values = {self.nodes[-1].output: gradient}
        for node in reversed(self.nodes):
            parts = node.layer.backward(of_values.pop(node.output))
            for name, part in zip(node.inputs, parts, strict=True):
                of_values[name] = of_values[name] + part if name in of_values else part
        return of_values


def chain(*layers: Layer) -> Network:
    """Return a network of one input, "x", and one layer after another."""
    names = ["x", *(str(place) for place in range(len(layers)))]
    nodes = [Node(layer, (names[place],), names[place + 1]) for place, layer in enumerate(layers)]
    return Network(["x"], nodes)


def glorot_uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    r"""\( W_{ij} \sim U\big[-\sqrt{6 / (n_{in} + n_{out})},\ \sqrt{6 / (n_{in} + n_{out})}\big] \).

    A convolution's \(n\) are channels and filters times the kernel's pixels. Source: Glorot, Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", AISTATS 2010, equation 16.
    """
    field = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / ((shape[-2] + shape[-1]) * field))
    return random.uniform(-limit, limit, shape)
