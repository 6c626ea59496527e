"""The complete state of a training at a batch in one file, from which a killed training resumes bit for bit.

It has the variables of the model (weights, statistics, the state of every seed generator), of the optimizer and the
metrics, the state of the loop and the callbacks, the epochs so far, and the position in the order of the rows, which is
drawn again from the seed. Not included: random numbers that a user's layer draws from TensorFlow instead of Keras.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tidegate.models.keras_private import global_seed
from tidegate.models.loops import LoopState
from tidegate.models.training.keras_loop.callback_state import pack, unpack

# Attributes of Keras' callbacks that are part of the state.
COUNTED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")
KINDS = ("model", "optimizer", "metrics", "seeds")


class CheckpointManager(Protocol):
    """Stores a training's checkpoints."""

    def save(self, path: Path) -> None:
        """Store this file's content and keep the previous one; the file may be removed afterwards."""

    def candidates(self) -> Iterator[Path]:
        """Complete checkpoints, the newest first."""

    def report_unusable(self, reason: str) -> None:
        """Report that one of `candidates` cannot be used, or that none could be written."""

    def stop_requested(self) -> bool:
        """Whether the process received SIGTERM: then the training saves its state and stops."""

    @property
    def writes(self) -> bool:
        """Whether this process writes checkpoints; in a group only one does, and all resume from its."""

    @property
    def work(self) -> Path:
        """A folder for temporary files."""


@dataclass
class TrainingProgress:
    """How far a training has come.

    Attributes:
        epoch: the current epoch, from 0.
        batch: the number of its batches that are done.
        values: its loss and metrics on the training rows, once all batches are done.
        epochs: the values of each finished epoch.
        ended_ms: the time when each of them ended, ms since 1970.
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


def read_progress(path: Path) -> TrainingProgress:
    """The progress that a file holds; raises as `read` does."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return TrainingProgress(**json.loads(str(file["facts"]))["progress"])


def write(path: Path, progress: TrainingProgress, model: Any, loop: LoopState, callbacks: Any) -> None:
    """Write the state to a new file."""
    arrays = {name: np.asarray(variable) for name, variable in _variables(model, progress).items()}
    arrays |= {f"loop/{name}": array for name, array in loop.state().items()}
    counted = []
    for place, callback in enumerate(callbacks.callbacks):
        counted.append({name: getattr(callback, name) for name in COUNTED if hasattr(callback, name)})
        best = getattr(callback, "best_weights", None) or []
        arrays |= {f"best/{place}/{index}": np.asarray(array) for index, array in enumerate(best)}
    own = pack(callbacks.callbacks, arrays)
    facts = {"progress": vars(progress), "callbacks": counted, "own": own}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def read(path: Path, model: Any, loop: LoopState, callbacks: Any) -> TrainingProgress:
    """Restore model, loop and callbacks from a file, completely or not at all, and return the progress.

    Raises:
        ValueError: the file belongs to another model or version.
        OSError, EOFError, KeyError, zipfile.BadZipFile: the file is incomplete.
    """
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays.pop("facts")))
    progress = TrainingProgress(**facts["progress"])
    variables = _variables(model, progress)
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
    unpack(callbacks.callbacks, facts.get("own") or [{}] * len(callbacks.callbacks), arrays)
    return progress


def write_variables(path: Path, progress: TrainingProgress, variables: Sequence[Any]) -> None:
    """Write variables of a loop of the user's to a new file."""
    arrays = {f"part/{place}": np.asarray(variable) for place, variable in enumerate(variables)}
    with path.open("wb") as file:
        facts = np.array(json.dumps({"progress": vars(progress)}))
        np.savez(file, allow_pickle=False, facts=facts, **arrays)


def read_variables(path: Path, variables: Sequence[Any]) -> TrainingProgress:
    """Set what `write_variables` wrote, completely or not at all; raises as `read` does."""
    progress = read_progress(path)
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name.startswith("part/")}
    known = {f"part/{place}": variable for place, variable in enumerate(variables)}
    _require_same(known, arrays, ("part",))
    for name, variable in known.items():
        variable.assign(arrays[name])
    return progress


def global_seeds() -> list[Any]:
    """The state of Keras' global seed generator, which is created at the first call from Python's seed."""
    return [global_seed()]


def _variables(model: Any, progress: TrainingProgress) -> dict[str, Any]:
    """All variables that a training changes, by a name that is the same in every process.

    At the beginning of an epoch metrics are reset, and those that a step creates may not be there yet.
    """
    kinds = {
        "model": model.variables,
        "optimizer": [variable for optimizer in optimizers_of(model) for variable in optimizer.variables],
        "metrics": model.metrics_variables if progress.batch else [],
        "seeds": global_seeds(),
    }
    return {f"{kind}/{index}": each for kind, given in kinds.items() for index, each in enumerate(given)}


def optimizers_of(model: Any) -> list[Any]:
    """A model's optimizer, and others that its class keeps for steps of its own, such as those of a GAN."""
    import keras

    first = getattr(model, "optimizer", None)
    others = [one for one in vars(model).values() if isinstance(one, keras.optimizers.Optimizer)]
    return [one for one in [first, *(other for other in others if other is not first)] if one is not None]


def _require_same(
    variables: dict[str, Any], arrays: dict[str, np.ndarray], kinds: tuple[str, ...] = KINDS
) -> None:
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: array.shape for name, array in arrays.items() if name.partition("/")[0] in kinds}
    if found != expected:
        different = sorted(name for name in expected | found if found.get(name) != expected.get(name))
        raise ValueError(
            f"its {different[0]} has shape {found.get(different[0])}, expected {expected.get(different[0])}"
        )
