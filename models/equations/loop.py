"""The training loop: initialise, then forward, loss, backward and update until done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tidegate.models.equations import Array
from tidegate.models.equations.losses import Loss, mean_loss
from tidegate.models.equations.network import Network
from tidegate.models.equations.updates import batches, gradient_descent, momentum

Update: TypeAlias = Callable[[Sequence[Array], Sequence[Array], float], None]


def train(
    network: Network,
    loss: Loss,
    inputs: Mapping[str, Array],
    target: Array,
    *,
    epochs: int,
    rate: float,
    update: Update | None = None,
    batch_size: int | None = None,
    tolerance: float = 0.0,
    random: np.random.Generator,
) -> list[float]:
    r"""Train from new weights and return the mean loss of each epoch.

    Stops after `epochs`, or by convergence: when the loss of an epoch differs from the one before by less than
    `tolerance`. Source of the order: [GBC] algorithms 6.3, 6.4 and 8.1.

    Args:
        network: its weights change.
        loss: from `losses`.
        inputs: by name, (rows, ...) each.
        target: (rows, units), as the loss reads it.
        rate: the learning rate \( \eta \).
        update: what moves the parameters; None: plain gradient steps.
        batch_size: None: all rows at once, gradient descent; else SGD on batches in random order.
        random: draws the initial weights and the order of rows.
    """
    network.initialise(random)
    update = update or descend
    losses: list[float] = []
    for _ in range(epochs):
        total = 0.0
        for rows in batches(len(target), batch_size or len(target), random):
            batch = {name: array[rows] for name, array in inputs.items()}
            value, _ = learn(network, loss, batch, target[rows], lambda p, g: update(p, g, rate))
            total += value * len(rows)
        losses.append(total / len(target))
        if len(losses) > 1 and abs(losses[-1] - losses[-2]) < tolerance:
            break
    return losses


def learn(
    network: Network,
    loss: Loss,
    inputs: Mapping[str, Array],
    target: Array,
    update: Callable[[Sequence[Array], Sequence[Array]], None],
    weights: Array | None = None,
) -> tuple[float, Array]:
    """Train on one batch: forward, loss, backward, update.

    Args:
        weights: one weight per row (rows,), or None.

    Returns:
        The batch's mean loss and its predictions (rows, units), both from before the update.
    """
    predictions = network.forward(inputs, training=True)
    value, gradient = mean_loss(loss, predictions, target, weights)
    network.backward(gradient)
    update(network.parameters, network.gradients)
    return value, predictions


def descend(parameters: Sequence[Array], gradients: Sequence[Array], rate: float) -> None:
    """Move every parameter by `gradient_descent`."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        gradient_descent(parameter, gradient, rate)


class Momentum:
    """Moves every parameter by `momentum`, and stores the velocities.

    Args:
        factor: the momentum; 0 is plain SGD.
        nesterov: look ahead.

    Attributes:
        velocities: of each parameter, float64 of its shape; none before the first move.
    """

    def __init__(self, factor: float, nesterov: bool = False) -> None:
        self._factor, self._nesterov = factor, nesterov
        self.velocities: list[Array] = []

    def __call__(self, parameters: Sequence[Array], gradients: Sequence[Array], rate: float) -> None:
        """Move `parameters`, which must be the same ones each time."""
        self.velocities = self.velocities or [np.zeros_like(parameter) for parameter in parameters]
        for parameter, velocity, gradient in zip(parameters, self.velocities, gradients, strict=True):
            momentum(parameter, velocity, gradient, rate, self._factor, self._nesterov)
