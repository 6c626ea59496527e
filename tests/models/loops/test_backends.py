"""The backends learn the same from the same weights and batches, and the same as plain `model.fit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.models.backends import MNIST
from tests.models.on_backend import printed_on
from tidegate.models.distributed.devices import require_backend
from tidegate.models.errors import OptionsError
from tidegate.models.families import FAMILIES

TORCH = pytest.param("torch", marks=pytest.mark.torch)
CASES = ("mlp", "cnn", "lstm")
SURE = "sure"  # a network that is wrong and sure of it: probabilities below 1e-7
Curves = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Losses an epoch by case and "ours" or "fit", of a backend in a process of its own; all begin with one file."""
    weights = tmp_path_factory.mktemp("backends") / "weights.npz"

    @cache
    def of(backend: str, *cases: str) -> dict[str, Any]:
        found: dict[str, Any] = printed_on(
            backend, "-m", "tests.models.backends", str(weights), *(cases or (*CASES, SURE))
        )
        return found

    return of


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["tensorflow", "jax", TORCH])
def test_losses_are_those_of_keras_fit(curves: Curves, backend: str, case: str) -> None:
    found = curves(backend)[case]
    assert found["ours"] == pytest.approx(found["fit"], abs=1e-4)
    assert found["ours"][-1] < found["ours"][0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["jax", TORCH])
def test_losses_are_those_of_tensorflow(curves: Curves, backend: str, case: str) -> None:
    assert curves(backend)[case]["ours"] == pytest.approx(curves("tensorflow")[case]["ours"], abs=1e-3)


@pytest.mark.parametrize("case", [*CASES, SURE])
@pytest.mark.parametrize("backend", ["jax", TORCH])
def test_losses_in_float64_are_those_of_tensorflow_to_the_last_digits(
    curves: Curves, backend: str, case: str
) -> None:
    found, expected = (curves(name)[case] for name in (backend, "tensorflow"))
    assert found["float64"] == pytest.approx(expected["float64"], rel=1e-12)
    assert found["float64"] == pytest.approx(found["ours"], abs=1e-3) and found["float64"] != found["ours"]


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.slow), TORCH])
def test_a_loss_that_is_not_finite_names_its_batch(backend: str) -> None:
    assert "became NaN or infinite in epoch 1, batch 3 of 8" in printed_on(
        backend, "-m", "tests.models.backends"
    )


@pytest.mark.slow
@pytest.mark.torch
def test_mnist_mlp_is_learned_alike_on_three_backends(curves: Curves) -> None:
    """784-128-64-10, SGD with momentum, ten epochs of 60,000 images: 9,380 batches."""
    found = {backend: curves(backend, MNIST)[MNIST] for backend in ("tensorflow", "jax", "torch")}
    expected = found["tensorflow"]["ours"]
    for told in found.values():
        assert told["ours"][:3] == pytest.approx(expected[:3], abs=1e-3)
        assert told["float64"] == pytest.approx(found["tensorflow"]["float64"], abs=1e-6)
        # What float32 rounds grows from batch to batch: TensorFlow with XLA and without comes to differ by 2e-3.
        assert told["ours"] == pytest.approx(expected, abs=5e-3) and told["ours"][-1] < 0.3
        assert len(told["ours"]) == 10


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", TORCH])
def test_every_family_is_learned_gone_on_with_and_exported(backend: str, tmp_path: Path) -> None:
    found = printed_on(backend, "-m", "tests.models.all_families", str(tmp_path))
    assert set(found) == set(FAMILIES)
    for name, told in found.items():
        assert told["losses"][1] < 0.95 * told["losses"][0], name
        assert len(set(told["digests"])) == 1, name
        assert told["difference"] < 1e-5, name


def test_a_backend_that_is_not_installed_is_told() -> None:
    require_backend("jax")
    if find_spec("torch") is None:
        with pytest.raises(
            OptionsError,
            match=r"'training.backend' is 'torch'; expected one whose package is installed here",
        ):
            require_backend("torch")
