"""The training loops: one a backend, all driven by `training.fit` in the same way.

A loop goes through rows in memory, all or a window of them (`loops.streamed`), with Keras' own steps, many
batches a call, so losses, metrics and optimizers are Keras' and only the driving is ours. Where a call ends changes no
bit of the result; it is only when progress is seen and a checkpoint can be written. A backend is a module with
`make_loops` and a line in `BACKENDS`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tidegate.models.loops.streamed import StreamedLoop, StreamedRows

if TYPE_CHECKING:
    from tidegate.models.config.losses import Loss
    from tidegate.models.config.training import Training
    from tidegate.models.loops.dp_sgd import Sampling

BACKENDS = {
    "tensorflow": "tidegate.models.loops.tensorflow",
    "jax": "tidegate.models.loops.jax",
    "torch": "tidegate.models.loops.torch",
    "numpy": "tidegate.models.loops.numpy",
}
ROWS_A_VALIDATION_BATCH = 1024
# Layers that XLA fuses on the CPU. In a compiled loop a convolution is 30 times slower there and a Dropout's random
# numbers 12 times, so one layer that is not listed keeps the model out.
FUSED = {
    *("Activation", "Add", "BatchNormalization", "Concatenate", "Dense", "Embedding", "Flatten"),
    *("InputLayer", "LayerNormalization", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape"),
    *("Cast", "Divide", "ExpandDims", "Maximum", "NotEqual", "Sum"),  # of keras.ops
}


class Loop(Protocol):
    """Goes through the same rows again and again.

    Attributes:
        rows: how many there are.
        batches: batches an epoch.
        errors: what the framework raises when it cannot run a batch.
    """

    rows: int
    batches: int
    errors: tuple[type[Exception], ...]

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Go through the rows once; yield batches done and the first whose loss was not finite, or None.

        At each yield the Keras model's variables are those after these batches.

        Args:
            order: int32 row indices (rows,), each once; None keeps the rows' own order. Of streamed rows, what
                `preprocessing.windows.ShuffleWindows.order` drew.
            start: batches of this epoch that were done before.
            every: also stop after each multiple of so many batches.
        """

    def state(self) -> dict[str, np.ndarray]:
        """What the next batch depends on beside the model's variables, by name."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state`."""

    def batches_a_call(self) -> int:
        """Batches that a call was found to do in the time it aims at; 1 where there are no calls."""


class WindowLoop(Loop, Protocol):
    """A loop whose rows can be replaced by others."""

    def load(self, data: tuple[Any, ...], rows: int | None = None, before: int = 0) -> None:
        """Go through other rows from now on.

        Args:
            data: as `LoopSpec.train`.
            rows: how many an epoch goes through; all of them once when not given.
            before: batches of the epoch that lie before them; `every` counts these too.
        """


class StatelessLoop:
    """What holds for a loop that keeps nothing beside the Keras model's variables."""

    def state(self) -> dict[str, np.ndarray]:
        """Nothing: all is in variables."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class LoopSpec:
    """What a backend makes its loops of.

    Attributes:
        model: the compiled Keras model.
        train, held_out: (inputs by name, target) or (inputs, target, row weights), NumPy arrays, rows first;
            held_out may be None; train may be `StreamedRows`.
        options: the experiment's.
        loss: the experiment's.
        seed: seeds what a loop draws itself.
        xla: compile with XLA where the backend has a choice.
        gpus: devices of each process that share a batch; 0 asks for none.
        sampling: how batches are drawn for DP-SGD, `train` being filled for it; None: in the order of an epoch.
    """

    model: Any
    train: Any
    held_out: tuple[Any, ...] | None
    options: Training
    loss: Loss
    seed: int
    xla: bool
    gpus: int = 0
    sampling: Sampling | None = None


def make_loops(parts: LoopSpec) -> tuple[Loop, Loop | None]:
    """What goes through the training rows and, where there are some, the held-out rows.

    Raises:
        OptionsError: the backend cannot do what the model or the options ask.
    """
    backend = import_module(BACKENDS[parts.options.backend])
    if isinstance(parts.train, StreamedRows):
        loop, check = backend.make_loops(replace(parts, train=parts.train.example))
        return StreamedLoop(loop, parts.train), check
    made: tuple[Loop, Loop | None] = backend.make_loops(parts)
    return made


def fused(model: Any, besides: frozenset[str] = frozenset()) -> bool:
    """Return whether XLA fuses all layers of a model, or `besides` has them; the same answer on every machine."""
    known = FUSED | besides
    return all(type(operation).__name__ in known for operation in getattr(model, "operations", [model]))


class CallPacer:
    """How many batches a call does: as many as fit into `seconds`, learned from the calls before.

    Args:
        seconds: what a call aims at.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.batches = 64

    def stop(self, done: int, end: int, every: int | None, before: int = 0) -> int:
        """The batch a call that begins after `done` batches stops before; `every` counts the `before` too."""
        stop = min(end, done + self.batches)
        return min(stop, done - (before + done) % every + every) if every else stop

    def adapt(self, began: float, batches: int) -> None:
        """Note that `batches` took from `began` (`time.perf_counter`) to now."""
        seconds = time.perf_counter() - began
        fitting = int(batches * self._seconds / max(seconds, 1e-6))
        self.batches = max(1, self.batches // 4, min(fitting, self.batches * 4))
