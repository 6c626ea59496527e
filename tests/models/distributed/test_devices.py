"""What JAX compiles is there for the next process, and a killed one spoils nothing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidegate.models.distributed import devices
from tidegate.models.distributed.devices import keep_compiled

COMPILES = """
import json, sys
from pathlib import Path
from tidegate.models.distributed.devices import configure_backend
configure_backend("jax", Path(sys.argv[1]))
import jax
told = []
jax.monitoring.register_event_listener(lambda event, **_: told.append(event.rpartition("/")[2]))
answer = jax.jit(jax.numpy.sin)(jax.device_put(0.7))
print(json.dumps([float(answer), told.count("cache_hits"), told.count("cache_misses")]))
"""


def compiled_by(folder: Path) -> tuple[float, int, int]:
    """What a process computes, and how many programs it found and compiled."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    argv = [sys.executable, "-P", "-c", COMPILES, str(folder)]
    printed = subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout
    answer, hits, misses = json.loads(printed.splitlines()[-1])
    return answer, hits, misses


def test_the_next_process_compiles_nothing(tmp_path: Path) -> None:
    first = compiled_by(tmp_path)
    assert first[2] > 0
    again = compiled_by(tmp_path)
    assert again == (first[0], first[1] + first[2], 0)
    entries = [path for path in tmp_path.rglob("*") if path.is_file()]
    entries[0].write_bytes(b"")  # as a process leaves it that is killed before it has written
    os.utime(entries[0], (time.time() - 100, time.time() - 100))
    assert compiled_by(tmp_path) == (first[0], first[1] + first[2] - 1, 1)
    assert compiled_by(tmp_path) == again


def test_what_a_user_set_for_jax_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    keep_compiled(tmp_path)
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_the_oldest_programs_go_where_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    keep_compiled(tmp_path)
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    folder.mkdir()
    for age, name in enumerate(("new", "old", "oldest")):
        (folder / name).write_bytes(b"1234")
        os.utime(folder / name, (time.time() - age, time.time() - age))
    monkeypatch.setattr(devices, "MOST_COMPILED", 9)
    keep_compiled(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old"]
