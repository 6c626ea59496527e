"""A training's whole state at a batch, as one file: what a killed training goes on from, to the bit.

In it are the variables of the model (weights, statistics, the state of every seed generator), of the optimizer and the
metrics, what the loop and the callbacks keep, the epochs so far and the place in the order of the data, which is drawn
anew from the seed. Not in it: random numbers that a user's layer draws from TensorFlow itself and not from Keras.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tidegate.models.keras_private import global_seed
from tidegate.models.loops import Loop

COUNTED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")  # by Keras' callbacks
KINDS = ("model", "optimizer", "metrics", "seeds")


class Keeper(Protocol):
    """Where a training's checkpoints lie."""

    def put(self, path: Path) -> None:
        """Keep this file's content, and the one before it; the file may be removed afterwards."""

    def found(self) -> Iterator[Path]:
        """Whole checkpoints, the newest first."""

    def skipped(self, reason: str) -> None:
        """One of `found` can not be used."""

    def ending(self) -> bool:
        """Whether the process was told to end: the training keeps its state and stops."""

    @property
    def keeps(self) -> bool:
        """Whether this process keeps any; of several that train together one does, and all go on from its."""

    @property
    def work(self) -> Path:
        """A folder for temporary files."""


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: the epoch it is in, from 0.
        batch: batches of it that are done.
        values: what its training rows gave, once all its batches are done.
        epochs: the values of each finished epoch.
        ended_ms: when each of them ended, ms since 1970.
        best_epoch: see `training.fit.History`.
        seconds: wall time so far.
    """

    epoch: int = 0
    batch: int = 0
    values: dict[str, float] | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    ended_ms: list[int] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0


def write(path: Path, progress: Progress, model: Any, loop: Loop, callbacks: Any) -> None:
    """Write the state to a new file."""
    arrays = {name: np.asarray(variable) for name, variable in _variables(model).items()}
    arrays |= {f"loop/{name}": array for name, array in loop.state().items()}
    counted = []
    for place, callback in enumerate(callbacks.callbacks):
        counted.append({name: getattr(callback, name) for name in COUNTED if hasattr(callback, name)})
        best = getattr(callback, "best_weights", None) or []
        arrays |= {f"best/{place}/{index}": np.asarray(array) for index, array in enumerate(best)}
    facts = {"progress": vars(progress), "callbacks": counted}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def read(path: Path, model: Any, loop: Loop, callbacks: Any) -> Progress:
    """Bring model, loop and callbacks to the state in a file and return how far it was; all of it or nothing.

    Raises:
        ValueError: the file is of another model or version.
        OSError, EOFError, KeyError, zipfile.BadZipFile: the file is not whole.
    """
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays.pop("facts")))
    progress = Progress(**facts["progress"])
    variables = _variables(model)
    _require_same(variables, arrays)
    for name, variable in variables.items():
        variable.assign(arrays[name])
    parts = {name.removeprefix("loop/"): arrays[name] for name in arrays if name.startswith("loop/")}
    loop.restore(parts)
    for place, (callback, counted) in enumerate(zip(callbacks.callbacks, facts["callbacks"], strict=True)):
        for name, value in counted.items():
            setattr(callback, name, value)
        best = [name for name in arrays if name.startswith(f"best/{place}/")]
        if best:
            callback.best_weights = [arrays[f"best/{place}/{index}"] for index in range(len(best))]
    return progress


def global_seeds() -> list[Any]:
    """The state of random numbers that belong to no layer; it is made at the first call, from Python's seed."""
    return [global_seed()]


def _variables(model: Any) -> dict[str, Any]:
    """Every variable a training changes, by a name that is the same in every process."""
    kinds = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
        "seeds": global_seeds(),
    }
    return {f"{kind}/{index}": each for kind, given in kinds.items() for index, each in enumerate(given)}


def _require_same(variables: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: array.shape for name, array in arrays.items() if name.partition("/")[0] in KINDS}
    if found != expected:
        different = sorted(name for name in expected | found if found.get(name) != expected.get(name))
        raise ValueError(
            f"its {different[0]} has shape {found.get(different[0])}, expected {expected.get(different[0])}"
        )
