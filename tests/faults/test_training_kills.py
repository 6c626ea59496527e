"""SIGKILL of a training at seeded moments, some within the writing of a checkpoint: the same bits in the end."""

import json
from pathlib import Path

import pytest

from tests.forked import Program

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
    keras = "tensorflow" if backend == "numpy" else backend
    program = Program(keras, "tests.faults.trainings", backend, str(kills), str(tmp_path))
    printed, errors = program.communicate()
    assert program.returncode == 0, errors[-3000:]
    result = json.loads(printed)
    assert result["found"] == result["expected"]
    assert len(result["places"]) >= kills / 2
