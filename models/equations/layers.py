"""The equations as layers: each stores in its forward pass what its backward pass needs."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from tidegate.models.equations import Array
from tidegate.models.equations.activations import Activation
from tidegate.models.equations.convolution import Padding, convolution, convolution_backward
from tidegate.models.equations.dense import dense, dense_backward
from tidegate.models.equations.lstm import Trace, lstm, lstm_backward
from tidegate.models.equations.pooling import (
    average_pooling,
    average_pooling_backward,
    max_pooling,
    max_pooling_backward,
)
from tidegate.models.equations.recurrent import recurrent, recurrent_backward


class Layer(ABC):
    """A step of a network.

    Attributes:
        parameters: float64 arrays, changed in place by an update.
        gradients: of the loss with respect to each parameter, set by `backward`.
        training: whether the next forward pass is in training, which Dropout needs.
    """

    training = False

    def __init__(self, *parameters: Array) -> None:
        self.parameters = list(parameters)
        self.gradients: list[Array] = []

    @abstractmethod
    def forward(self, *inputs: Array) -> Array:
        """Return the output for inputs (rows, ...)."""

    @abstractmethod
    def backward(self, gradient: Array) -> tuple[Array, ...]:
        """Return the gradient for each input from that of the output, and set `gradients`."""


class Activate(Layer):
    """An activation by itself."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self._activation = activation

    def forward(self, *inputs: Array) -> Array:
        self._output = self._activation.forward(inputs[0])
        return self._output

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        return (self._activation.backward(gradient, self._output),)


class Dense(Layer):
    """`dense`; parameters: weights, bias."""

    def forward(self, *inputs: Array) -> Array:
        (self._x,) = inputs
        return dense(self._x, *self.parameters)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        of_x, *self.gradients = dense_backward(gradient, self._x, self.parameters[0])
        return (of_x,)


class Convolution(Layer):
    """`convolution`; parameters: kernel, bias."""

    def __init__(self, kernel: Array, bias: Array, padding: Padding) -> None:
        super().__init__(kernel, bias)
        self._padding = padding

    def forward(self, *inputs: Array) -> Array:
        (self._x,) = inputs
        kernel, bias = self.parameters
        return convolution(self._x, kernel, bias, self._padding)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        of_x, *self.gradients = convolution_backward(gradient, self._x, self.parameters[0], self._padding)
        return (of_x,)


class Pooling(Layer):
    """`max_pooling` or `average_pooling`; nothing to learn."""

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        pairs = {
            "max": (max_pooling, max_pooling_backward),
            "average": (average_pooling, average_pooling_backward),
        }
        self._forward, self._backward = pairs[kind]
        self._size = size

    def forward(self, *inputs: Array) -> Array:
        (self._x,) = inputs
        return self._forward(self._x, self._size)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        return (self._backward(gradient, self._x, self._size),)


class _ThroughTime(Layer):
    """The base of recurrent layers, whose output is all states or only the last one."""

    def __init__(self, weights: Array, recurrent_weights: Array, bias: Array, every_state: bool) -> None:
        super().__init__(weights, recurrent_weights, bias)
        self._every_state = every_state

    def _output(self, states: Array) -> Array:
        return states if self._every_state else states[:, -1]

    def _of_states(self, gradient: Array, states: Array) -> Array:
        if self._every_state:
            return gradient
        of_states = np.zeros_like(states)
        of_states[:, -1] = gradient
        return of_states


class Recurrent(_ThroughTime):
    """`recurrent`; parameters: weights, recurrent weights, bias."""

    def forward(self, *inputs: Array) -> Array:
        (self._x,) = inputs
        self._states = recurrent(self._x, *self.parameters)
        return self._output(self._states)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        of_states = self._of_states(gradient, self._states)
        of_x, *self.gradients = recurrent_backward(of_states, self._x, self._states, *self.parameters[:2])
        return (of_x,)


class Lstm(_ThroughTime):
    """`lstm`; parameters: weights, recurrent weights, bias, each of four gates side by side."""

    _trace: Trace

    def forward(self, *inputs: Array) -> Array:
        (self._x,) = inputs
        self._trace = lstm(self._x, *self.parameters)
        return self._output(self._trace.states)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        of_states = self._of_states(gradient, self._trace.states)
        of_x, *self.gradients = lstm_backward(of_states, self._x, self._trace, *self.parameters[:2])
        return (of_x,)


class Reshape(Layer):
    """Another shape of the same values; `shape` is that of a row."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape

    def forward(self, *inputs: Array) -> Array:
        self._before = inputs[0].shape
        return inputs[0].reshape(-1, *self._shape)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        return (gradient.reshape(self._before),)


class Concatenate(Layer):
    """Several inputs side by side along the last axis."""

    def forward(self, *inputs: Array) -> Array:
        self._ends = np.cumsum([array.shape[-1] for array in inputs])[:-1]
        return np.concatenate(inputs, axis=-1)

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        return tuple(np.split(gradient, self._ends, axis=-1))


class Dropout(Layer):
    r"""In training \( a_i = x_i r_i / (1 - p) \), \( r_i \) being 0 with probability p, else 1; otherwise \( a = x \).

    Source: Srivastava et al., "Dropout", JMLR 2014, section 10 (scaled in training, not after it).
    """

    def __init__(self, rate: float, random: np.random.Generator) -> None:
        super().__init__()
        self._rate, self._random = rate, random

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        kept = self._random.random(x.shape) >= self._rate if self.training else np.ones(x.shape)
        self._factor = kept / (1.0 - self._rate) if self.training else kept
        return x * self._factor

    def backward(self, gradient: Array) -> tuple[Array, ...]:
        return (gradient * self._factor,)
