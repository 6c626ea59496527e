"""The training loops: one per backend, all driven by `training.fit` in the same way.

A loop runs over rows in memory, all of them or a window (`loops.streamed`), with Keras' own steps and many batches per
call. So losses, metrics and optimizers are Keras', and only the loop around them is ours. Where a call ends does not
change the result by a bit; it only decides when progress is reported and a checkpoint can be written. A backend is a
module with `make_loops` and a line in `BACKENDS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
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
VALIDATION_BATCH = 1024  # rows
# Layers that XLA fuses on the CPU. In a compiled loop there a convolution is 30 times slower and a Dropout's random
# numbers 12 times, so a model with any layer that is not listed is not compiled.
FUSED = {
    *("Activation", "Add", "BatchNormalization", "Concatenate", "Dense", "Embedding", "Flatten"),
    *("InputLayer", "LayerNormalization", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape"),
    *("Cast", "Divide", "ExpandDims", "Maximum", "NotEqual", "Sum"),  # of keras.ops
}


class LoopState(Protocol):
    """Rows that a training runs over, and the state of the loop that does it.

    Attributes:
        rows: the number of rows.
        batches: batches per epoch.
        errors: exceptions that the framework raises when it cannot run a batch.
    """

    rows: int
    batches: int
    errors: tuple[type[Exception], ...]

    def state(self) -> dict[str, np.ndarray]:
        """What the next batch depends on besides the model's variables, by name."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`."""

    def batches_a_call(self) -> int:
        """The number of batches per call that fits the intended time of a call; 1 without such calls."""


class Loop(LoopState, Protocol):
    """Runs over the same rows, epoch after epoch."""

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Run over the rows once; yield the batches done and the first whose loss was not finite, or None.

        At each yield the Keras model's variables are those after these batches.

        Args:
            order: int32 row indices (rows,), each once; None keeps the rows' own order. For streamed rows it comes from
                `preprocessing.windows.ShuffleWindows.order`.
            start: batches of this epoch that were done before.
            every: also yield after each multiple of this number of batches.
        """


class WindowLoop(Loop, Protocol):
    """A loop whose rows can be replaced by others."""

    def load(self, data: tuple[Any, ...], rows: int | None = None, before: int = 0) -> None:
        """Run over other rows from now on.

        Args:
            data: as `LoopSpec.train`.
            rows: rows per epoch; None: all of them once.
            before: batches of the epoch before these rows; `every` counts them, too.
        """


class EpochsLoop(Loop, Protocol):
    """A loop that may run many epochs in one call, which is quicker where an epoch has few batches.

    Attributes:
        runs_epochs: whether it does now: an epoch is short, as it is seen only between calls whether to end.
    """

    runs_epochs: bool

    def run_epochs(self, orders: Callable[[int], np.ndarray], epochs: int) -> tuple[int, int | None]:
        """Run over the rows several times; return how often, and the first batch whose loss was not finite, or None.

        Args:
            orders: gives the order of an epoch of these, from 0; see `run`.
            epochs: at most.
        """


class StatelessLoop:
    """`state` and `restore` of a loop that has no state besides the Keras model's variables."""

    def state(self) -> dict[str, np.ndarray]:
        """Nothing: all state is in variables."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class LoopSpec:
    """The arguments of a backend's `make_loops`.

    Attributes:
        model: the compiled Keras model.
        train, held_out: (inputs by name, target) or (inputs, target, row weights), NumPy arrays, rows first;
            held_out may be None; train may be `StreamedRows`.
        options: the experiment's `training` section.
        loss: the experiment's loss.
        seed: seeds random numbers of the loop itself.
        xla: compile with XLA if the backend has a choice.
        gpus: devices of each process that share a batch; 0: no GPU was asked for.
        sampling: how batches are drawn for DP-SGD, with `train` padded for it; None: in the order of an epoch.
        any_rows: whether the loops will load data of other numbers of rows; on the TensorFlow backend only.
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
    any_rows: bool = False


def make_loops(parts: LoopSpec) -> tuple[Loop, Loop | None]:
    """Return the loop over the training rows and, if there are held-out rows, the loop over those.

    Raises:
        OptionsError: the backend does not support the model or an option.
    """
    backend = import_module(BACKENDS[parts.options.backend])
    if isinstance(parts.train, StreamedRows):
        loop, check = backend.make_loops(replace(parts, train=parts.train.example))
        return StreamedLoop(loop, parts.train), check
    made: tuple[Loop, Loop | None] = backend.make_loops(parts)
    return made


def rows_in(data: tuple[Any, ...]) -> int:
    """The rows of a loop's data; the target of several outputs is a dict of arrays."""
    target = data[1]
    return len(next(iter(target.values())) if isinstance(target, Mapping) else target)


def fused(model: Any, besides: frozenset[str] = frozenset()) -> bool:
    """Return whether XLA fuses all layers of a model except those in `besides`; the same on every machine."""
    known = FUSED | besides
    return all(type(operation).__name__ in known for operation in getattr(model, "operations", [model]))


class CallPacer:
    """Chooses the number of batches per call so that a call takes about `seconds`, measured on earlier calls.

    Args:
        seconds: the intended time of a call.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.batches = 64

    def stop(self, done: int, end: int, every: int | None, before: int = 0) -> int:
        """The batch before which a call stops that begins after `done` batches; `every` also counts `before`."""
        stop = min(end, done + self.batches)
        return min(stop, done - (before + done) % every + every) if every else stop

    def adapt(self, began: float, batches: int) -> None:
        """Record that `batches` took from `began` (`time.perf_counter`) until now."""
        seconds = time.perf_counter() - began
        fitting = int(batches * self._seconds / max(seconds, 1e-6))
        self.batches = max(1, self.batches // 4, min(fitting, self.batches * 4))
