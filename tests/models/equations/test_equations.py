"""The equations: their gradients are those of finite differences, and their loop learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.models.differences import numeric_gradient, relative_error
from tidegate.models.equations import layers, losses
from tidegate.models.equations.activations import ACTIVATIONS
from tidegate.models.equations.layers import Layer
from tidegate.models.equations.loop import Momentum, train
from tidegate.models.equations.losses import mean_loss
from tidegate.models.equations.network import Network, Node, chain, glorot_uniform
from tidegate.models.equations.updates import batches, gradient_descent, momentum

TOLERANCE = 1e-9


def values(*shape: int, seed: int = 0) -> np.ndarray:
    """Distinct values at least 0.02 apart and from 0: no kink lies within the steps of a difference."""
    count = int(np.prod(shape))
    spread = (np.arange(count) - count / 2 + 0.3) * max(0.02, 2 / count)
    return np.random.default_rng(seed).permutation(spread).reshape(shape)


def weights(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, shape)


CASES: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    **{f"{name}": (lambda name=name: layers.Activate(ACTIVATIONS[name]), (3, 5)) for name in ACTIVATIONS},
    "dense": (lambda: layers.Dense(weights(5, 4), weights(4)), (3, 5)),
    "dense on every step": (lambda: layers.Dense(weights(5, 4), weights(4)), (3, 2, 5)),
    "convolution, valid": (
        lambda: layers.Convolution(weights(3, 2, 2, 4), weights(4), "valid"),
        (2, 5, 4, 2),
    ),
    "convolution, same": (lambda: layers.Convolution(weights(3, 3, 2, 4), weights(4), "same"), (2, 5, 4, 2)),
    "convolution, same and even": (
        lambda: layers.Convolution(weights(2, 4, 1, 3), weights(3), "same"),
        (2, 5, 4, 1),
    ),
    "max pooling": (lambda: layers.Pooling("max", 2), (2, 5, 4, 2)),
    "average pooling": (lambda: layers.Pooling("average", 2), (2, 5, 4, 2)),
    "recurrent": (lambda: layers.Recurrent(weights(3, 4), weights(4, 4), weights(4), True), (2, 5, 3)),
    "recurrent, last state": (
        lambda: layers.Recurrent(weights(3, 4), weights(4, 4), weights(4), False),
        (2, 5, 3),
    ),
    "lstm": (lambda: layers.Lstm(weights(3, 16), weights(4, 16), weights(16), True), (2, 5, 3)),
    "lstm, last state": (lambda: layers.Lstm(weights(3, 16), weights(4, 16), weights(16), False), (2, 5, 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layers_gradients_are_those_of_finite_differences(case: str) -> None:
    make, shape = CASES[case]
    layer, x = make(), values(*shape)
    direction = weights(*layer.forward(x).shape, seed=2)  # any direction: the scalar <direction, output>
    layer.forward(x)
    (of_x,) = layer.backward(direction)

    def scalar() -> float:
        return float((layer.forward(x) * direction).sum())

    assert relative_error(of_x, numeric_gradient(scalar, x)) < TOLERANCE
    for parameter, gradient in zip(layer.parameters, layer.gradients, strict=True):
        assert relative_error(gradient, numeric_gradient(scalar, parameter)) < TOLERANCE


def target_for(loss: str) -> np.ndarray:
    if loss == "hinge":
        return np.where(values(6, 4, seed=3) > 0, 1.0, -1.0)
    return np.eye(4)[[0, 3, 1, 2, 2, 0]] if loss != "mean_squared_error" else values(6, 4, seed=3)


@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_losss_gradient_is_that_of_finite_differences(loss: str, weighted: bool) -> None:
    # Probabilities far from 0, where a logarithm bends too much for a difference; margins on both sides of the kink.
    predictions = values(6, 4) * 2 if "hinge" in loss else values(6, 4) * 0.2 + 0.5
    shares = np.arange(1.0, 7.0) if weighted else None
    _, gradient = mean_loss(losses.LOSSES[loss], predictions, target_for(loss), shares)

    def scalar() -> float:
        return mean_loss(losses.LOSSES[loss], predictions, target_for(loss), shares)[0]

    assert relative_error(gradient, numeric_gradient(scalar, predictions)) < TOLERANCE


def test_a_network_of_everything_has_the_gradients_of_finite_differences() -> None:
    """Two inputs, one read twice, through convolution, pooling, an LSTM and a dense head to cross-entropy."""
    nodes = [
        Node(layers.Convolution(weights(3, 3, 1, 2), weights(2), "same"), ("image",), "seen"),
        Node(layers.Activate(ACTIVATIONS["tanh"]), ("seen",), "active"),
        Node(layers.Pooling("average", 2), ("active",), "pooled"),
        Node(layers.Reshape((8,)), ("pooled",), "flat"),
        Node(layers.Lstm(weights(3, 12), weights(3, 12), weights(12), False), ("series",), "told"),
        Node(layers.Recurrent(weights(3, 2), weights(2, 2), weights(2), False), ("series",), "heard"),
        Node(layers.Concatenate(), ("flat", "told", "heard"), "all"),
        Node(layers.Dense(weights(13, 3), weights(3)), ("all",), "z"),
        Node(layers.Activate(ACTIVATIONS["softmax"]), ("z",), "p"),
    ]
    network = Network(["image", "series"], nodes)
    inputs = {"image": values(2, 4, 4, 1), "series": values(2, 5, 3)}
    target = np.eye(3)[[2, 0]]

    def scalar() -> float:
        return mean_loss(losses.cross_entropy, network.forward(inputs), target)[0]

    _, gradient = mean_loss(losses.cross_entropy, network.forward(inputs), target)
    of_inputs = network.backward(gradient)
    for name, array in inputs.items():
        assert relative_error(of_inputs[name], numeric_gradient(scalar, array)) < TOLERANCE
    for parameter, of_parameter in zip(network.parameters, network.gradients, strict=True):
        assert relative_error(of_parameter, numeric_gradient(scalar, parameter)) < TOLERANCE


def test_softmax_and_cross_entropy_together_are_the_difference() -> None:
    z, target = values(3, 4) * 50, np.eye(4)[[1, 0, 3]]
    softmax = ACTIVATIONS["softmax"]
    _, gradient = losses.cross_entropy(softmax.forward(z), target)
    together = softmax.backward(gradient, softmax.forward(z))
    np.testing.assert_allclose(together, softmax.forward(z) - target, atol=1e-14)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax"])
def test_nothing_overflows(name: str) -> None:
    forward, backward = ACTIVATIONS[name]
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        a = forward(np.array([[-800.0, 0.0, 800.0]]))
        assert np.isfinite(backward(np.ones_like(a), a)).all()
        assert np.isfinite(losses.cross_entropy(a, np.eye(3)[[0]])[0]).all()


def test_dropout_keeps_the_mean_and_is_out_of_the_way_after_training() -> None:
    layer, x = layers.Dropout(0.25, np.random.default_rng(0)), np.ones((100, 100))
    assert layer.forward(x).mean() == 1 and layer.backward(x)[0].mean() == 1
    layer.training = True
    dropped = layer.forward(x)
    assert dropped.mean() == pytest.approx(1, abs=0.02) and set(np.unique(dropped)) == {0, 1 / 0.75}
    np.testing.assert_array_equal(layer.backward(x)[0], dropped)


def test_updates_are_those_written_in_their_formulas() -> None:
    parameter, velocity = np.array([1.0]), np.array([0.5])
    gradient_descent(parameter, np.array([2.0]), 0.1)
    assert parameter == pytest.approx([0.8])
    momentum(parameter, velocity, np.array([2.0]), 0.1, 0.9)
    assert (velocity[0], parameter[0]) == pytest.approx((0.25, 1.05))
    momentum(parameter, velocity, np.array([2.0]), 0.1, 0.9, nesterov=True)
    assert (velocity[0], parameter[0]) == pytest.approx((0.025, 0.8725))


def test_an_epoch_takes_every_row_once() -> None:
    taken = list(batches(10, 4, np.random.default_rng(0)))
    assert [len(rows) for rows in taken] == [4, 4, 2]
    assert sorted(np.concatenate(taken)) == list(range(10))


def test_first_weights_have_the_width_of_their_formula() -> None:
    drawn = glorot_uniform((3, 3, 8, 16), np.random.default_rng(0))
    limit = np.sqrt(6 / (9 * 24))
    assert np.abs(drawn).max() <= limit and drawn.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_the_loop_learns_what_no_line_divides() -> None:
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    hidden, head = layers.Dense(np.zeros((2, 8)), np.zeros(8)), layers.Dense(np.zeros((8, 1)), np.zeros(1))
    network = chain(
        hidden, layers.Activate(ACTIVATIONS["tanh"]), head, layers.Activate(ACTIVATIONS["sigmoid"])
    )
    target = np.array([[0.0], [1.0], [1.0], [0.0]])
    found = train(
        network,
        losses.binary_cross_entropy,
        {"x": x},
        target,
        epochs=3000,
        rate=0.1,
        update=Momentum(0.9),
        random=np.random.default_rng(1),
    )
    assert found[-1] < 0.02
    np.testing.assert_array_equal(network.forward({"x": x}) > 0.5, target > 0.5)


def test_the_loop_stops_when_it_has_converged() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (200, 1))
    line = layers.Dense(np.zeros((1, 1)), np.zeros(1))
    loss = losses.mean_squared_error
    given = {"epochs": 10_000, "rate": 0.3, "tolerance": 1e-14, "random": random}
    found = train(chain(line), loss, {"x": x}, 3 * x + 2, **given)
    assert len(found) < 1000
    np.testing.assert_allclose([line.parameters[0][0, 0], line.parameters[1][0]], [3, 2], atol=1e-6)
    assert len(train(chain(line), loss, {"x": x}, 3 * x + 2, batch_size=10, **{**given, "epochs": 3})) == 3
