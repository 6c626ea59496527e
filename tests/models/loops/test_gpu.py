"""On a real GPU a training repeats to the bit, stopped or not, and what it leaves answers alike on a CPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.models.on_backend import printed_on
from tidegate.models.families import FAMILIES

pytestmark = pytest.mark.gpu
BACKENDS = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]
WITHOUT = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module", params=BACKENDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.models.on_gpu` finds on a backend with the GPU and without."""
    folder = str(tmp_path_factory.mktemp(request.param))
    learned = printed_on(request.param, "-m", "tests.models.on_gpu", "learn", folder)
    return {
        "backend": request.param,
        "gpu": learned,
        "cpu": printed_on(request.param, "-m", "tests.models.on_gpu", "check", folder, env=WITHOUT),
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_a_training_repeats_to_the_bit(found: dict[str, Any], name: str) -> None:
    assert len(set(found["gpu"][name]["digests"])) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_learned_as_on_a_cpu(found: dict[str, Any], name: str) -> None:
    losses, expected = found["gpu"][name]["losses"], found["cpu"][name]["losses"]
    if (
        found["backend"] == "torch" and found["gpu"][name]["draws"]
    ):  # other random numbers on each kind of device
        assert losses[-1] < 0.9 * losses[0]
    else:  # what float32 rounds grows from batch to batch
        assert losses[:5] == pytest.approx(expected[:5], abs=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_its_answers_are_those_of_a_cpu(found: dict[str, Any], name: str) -> None:
    assert found["cpu"][name]["difference"] < 1e-5


def test_too_few_are_told(found: dict[str, Any]) -> None:
    assert "resources.gpus is 99" in found["gpu"]["99 GPUs"] and "sees 1 GPUs" in found["gpu"]["99 GPUs"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_again_and_again_it_ends_with_the_same_bits(backend: str, tmp_path: Path) -> None:
    kills = 20
    result = printed_on(backend, "-m", "tests.faults.trainings", backend, str(kills), str(tmp_path))
    assert result["found"] == result["expected"] and len(result["places"]) >= kills / 2
