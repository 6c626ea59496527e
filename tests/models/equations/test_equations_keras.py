"""The equations against Keras on each of its backends: values, gradients and loss curves."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.forked import Program
from tests.models import keras_reference as reference
from tidegate.models.equations.activations import ACTIVATIONS
from tidegate.models.equations.from_keras import ConvertedNetwork
from tidegate.models.equations.loop import Momentum, learn
from tidegate.models.equations.losses import LOSSES

BACKENDS = ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.torch)]
NETWORKS = ("dense", "mlp", "cnn", "recurrent", "lstm")


@pytest.fixture(scope="module", params=BACKENDS)
def keras(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one backend of Keras computes: TensorFlow here, another in a process of its own."""
    if request.param == "tensorflow":
        return reference.everything()
    path = tmp_path_factory.mktemp("keras") / f"{request.param}.npz"
    program = Program(request.param, "tests.models.keras_reference", str(path))
    _, errors = program.communicate(timeout=300)
    assert program.returncode == 0, errors[-3000:]
    return np.load(path)


def learned(name: str) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What `reference` tells of a network, by the equations; and the first batch's gradients."""
    with reference.precise():
        model, x, y = reference.built(name)
    _, _, target, loss, settings = reference.networks()[name]
    network = ConvertedNetwork(model, 0).network
    y = np.eye(3)[y] if target == "index" else y
    update = Momentum(settings.get("momentum", 0.0), settings.get("nesterov", False))

    def batch(start: int) -> float:
        rows = slice(start, start + reference.BATCH)
        step = partial(update, rate=reference.RATE)
        return learn(network, LOSSES[loss], {network.inputs[0]: x[rows]}, y[rows], step)[0]

    found = {f"first.{place}": array.copy() for place, array in enumerate(network.parameters)}
    losses = [batch(0)]
    gradients = [gradient.copy() for gradient in network.gradients]
    starts = range(0, reference.ROWS, reference.BATCH)
    losses += [np.mean([batch(start) for start in starts]) for _ in range(reference.EPOCHS)]
    found |= {f"last.{place}": array for place, array in enumerate(network.parameters)}
    return found | {"losses": np.array(losses)}, gradients


def near(keras: Any, found: np.ndarray, key: str) -> None:
    """Equal to 1e-9 of the largest where Keras computes in float64, else to what float32 tells apart."""
    expected, double = keras[key], keras["dense/first.0"].dtype == np.float64
    tolerance = 1e-9 if double else 1e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_as_it_does_in_keras(keras: Any, name: str) -> None:
    found, gradients = learned(name)
    np.testing.assert_allclose(found["losses"], keras[f"{name}/losses"], rtol=1e-6)
    for key, value in found.items():
        near(keras, value, f"{name}/{key}")
    # One step of SGD tells the gradient; Nesterov's first step is longer by the momentum.
    settings = reference.networks()[name][4]
    step = reference.RATE * (1 + settings["momentum"] if settings.get("nesterov") else 1)
    for place, gradient in enumerate(gradients):
        moved = found[f"first.{place}"] - step * gradient
        near(keras, moved, f"{name}/second.{place}")


def test_activations_and_losses_are_those_of_keras(keras: Any) -> None:
    z = 6 * reference.drawn(1, 6, 3)
    for name in reference.ACTIVATIONS:
        near(keras, ACTIVATIONS[name].forward(z), f"functions/{name}")
    p, one_hot = ACTIVATIONS["softmax"].forward(z), np.eye(3)[[0, 2, 1, 1, 0, 2]]
    for name, predictions, target in (
        ("mean_squared_error", z, one_hot),
        ("categorical_crossentropy", p, one_hot),
        ("binary_crossentropy", p, one_hot),
        ("hinge", z, 2 * one_hot - 1),
        ("categorical_hinge", z, one_hot),
    ):
        near(keras, LOSSES[name](predictions, target)[0], f"functions/{name}")
