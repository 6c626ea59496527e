"""The backends learn the same from the same weights and batches, and the same as plain `model.fit`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from models.devices import require_backend
from models.errors import OptionsError

BACKENDS = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]
CASES = ("mlp", "cnn", "lstm")


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Losses an epoch by backend, case and "ours" or "fit", each backend in a process of its own."""
    weights = tmp_path_factory.mktemp("backends") / "weights.npz"
    found = {}
    for backend in BACKENDS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.models.backends", str(weights)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found[backend] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_are_those_of_keras_fit(curves: dict[str, Any], backend: str, case: str) -> None:
    found = curves[backend][case]
    assert found["ours"] == pytest.approx(found["fit"], abs=1e-4)
    assert found["ours"][-1] < found["ours"][0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_losses_are_those_of_tensorflow(curves: dict[str, Any], backend: str, case: str) -> None:
    assert curves[backend][case]["ours"] == pytest.approx(curves["tensorflow"][case]["ours"], abs=1e-3)


def test_a_backend_that_is_not_installed_is_told() -> None:
    require_backend("jax")
    for missing in {"torch"} - set(BACKENDS):
        with pytest.raises(
            OptionsError, match=r"'training.backend' is 'torch', and the package torch is not"
        ):
            require_backend(missing)
