"""SIGKILL of a training at seeded moments, some within the writing of a checkpoint: the same bits in the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = [
    pytest.param(
        backend, kills, id=f"{backend}-{kills}", marks=[getattr(pytest.mark, mark) for mark in marks]
    )
    for backend, kills, marks in (
        ("tensorflow", 3, ()),
        ("numpy", 3, ("slow",)),
        ("jax", 3, ("slow",)),
        ("torch", 3, ("torch",)),
        ("tensorflow", 20, ("slow",)),
        ("numpy", 20, ("slow",)),
        ("jax", 20, ("slow",)),
        ("torch", 20, ("slow", "torch")),
    )
]


@pytest.mark.parametrize(("backend", "kills"), CASES)
def test_a_training_that_was_killed_ends_with_the_same_bits(backend: str, kills: int, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow" if backend == "numpy" else backend,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    argv = [
        sys.executable,
        "-m",
        "tests.on_keras",
        "tests.faults.trainings",
        backend,
        str(kills),
        str(tmp_path),
    ]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["found"] == result["expected"]
    assert len(result["places"]) >= kills / 2
