"""The loop of the JAX backend: many batches per compiled call, over data that stays on the device.

Keras' own stateless `train_step` gathers its rows from the device's copy of the data. If XLA fuses all layers
(`loops.fused`), and on a GPU, the step is the body of a `lax.fori_loop`. On the CPU a convolution or a recurrent layer
is slower inside a loop, so other models take one asynchronous call per batch. The state is written back to the model
after each group of batches, without a copy. On several devices it is the same program; only the placement of its arrays
differs (`distributed.jax_sharding`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import numpy as np

from tidegate.models.distributed.jax_sharding import BatchSharding, batch_sharding
from tidegate.models.loops import VALIDATION_BATCH, CallPacer, LoopSpec, StatelessLoop, fused, rows_in
from tidegate.models.loops.dp_sgd import jax_step

TRAIN = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
TEST = ("trainable_variables", "non_trainable_variables", "metrics_variables")


class Loop(StatelessLoop):
    """Runs one of a compiled model's steps over rows in memory.

    Args:
        model: a compiled Keras model on the JAX backend.
        step: its `train_step` or `test_step`.
        parts: the kinds of variables that the step takes and returns: `TRAIN` or `TEST`.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows per step.
        fused: one call for many batches.
        rows: rows per epoch; None: all of them once.
        seconds_a_call: the intended time of a call.
        spread: the devices that share each batch; None: one device.
    """

    def __init__(
        self,
        model: Any,
        step: Callable[..., Any],
        parts: tuple[str, ...],
        data: tuple[Any, ...],
        batch_size: int,
        fused: bool = True,
        rows: int | None = None,
        seconds_a_call: float = 0.25,
        sharding: BatchSharding | None = None,
    ) -> None:
        import jax

        self.errors = (jax.errors.JaxRuntimeError, ValueError, TypeError)
        self._sharding, self._size = sharding, batch_size
        self._block = cache(lambda size, offset: _block(step, size, offset, fused, sharding))
        self._variables = [_variables(model, part) for part in parts]
        self._pace = CallPacer(seconds_a_call)
        self._written: dict[int, tuple[Any, Any]] = {}
        self.load(data, rows)

    def load(self, data: tuple[Any, ...], rows: int | None = None, before: int = 0) -> None:
        """Run over other rows from now on; see `loops.WindowLoop`."""
        import jax

        self._data: Any = None  # free the previous rows first
        self._data = jax.tree.map(self._sharding.replicate if self._sharding else jax.numpy.asarray, data)
        self.rows, self._before = rows or rows_in(data), before
        self.batches = -(-self.rows // self._size)
        whole = self.rows // self._size
        self._blocks = [(whole, self._block(self._size, 0))]
        if whole < self.batches:
            rest = self.rows - whole * self._size
            self._blocks.append((self.batches, self._block(rest, whole * self._size)))

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Run over the rows once; see `loops.Loop`."""
        rows = np.arange(self.rows, dtype=np.int32) if order is None else order
        done = start
        if self._sharding:
            self._synchronise(self._sharding, rows, start)
            rows = self._sharding.replicate(rows)
        while done < self.batches:
            end, block = next(pair for pair in self._blocks if done < pair[0])
            stop = self._pace.stop(done, end, every, self._before)
            if self._sharding:
                stop = int(self._sharding.broadcast(np.int32(stop)))
            began = time.perf_counter()
            state, bad = block(self._read(), self._data, rows, done, stop)
            bad = int(bad)
            self._pace.adapt(began, stop - done)
            self._write(state)
            done = stop
            yield done, bad if bad >= 0 else None

    def _synchronise(self, sharding: BatchSharding, rows: np.ndarray, start: int) -> None:
        """Begin with member 0's weights, because other machines may have computed slightly different ones."""
        place = [zlib.crc32(rows.tobytes()) & 0x7FFFFFFF, start]
        if sharding.broadcast(np.array(place, np.int32)).tolist() != place:
            raise ValueError("this process and member 0 are not at the same position of the training")
        if not self._written and sharding.processes > 1:
            for variable in (variable for part in self._variables for variable in part):
                variable.assign(sharding.broadcast(variable.value))

    def _read(self) -> tuple[list[Any], ...]:
        return tuple([self._everywhere(variable) for variable in part] for part in self._variables)

    def _everywhere(self, variable: Any) -> Any:
        """A variable's value on all devices: as the last call left it, unless it was changed since."""
        if self._sharding is None:
            return variable.value
        here, everywhere = self._written.get(id(variable), (None, None))
        return everywhere if here is variable.value else self._sharding.replicate(variable.value)

    def _write(self, state: tuple[list[Any], ...]) -> None:
        for part, values in zip(self._variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(self._sharding.local_copy(value) if self._sharding else value)
                if self._sharding:
                    self._written[id(variable)] = (variable.value, value)

    def batches_a_call(self) -> int:
        """See `loops.CallPacer`."""
        return self._pace.batches


def _variables(model: Any, part: str) -> list[Any]:
    return list(model.optimizer.variables if part == "optimizer_variables" else getattr(model, part))


def _block(
    step: Callable[..., Any], size: int, offset: int, fused: bool, sharding: BatchSharding | None
) -> Any:
    """Batches of `size` rows; the last, smaller batch has a block of its own, which begins at row `offset`."""
    import jax
    from jax import lax, numpy

    def body(index: Any, carry: Any, data: Any, rows: Any) -> Any:
        state, bad = carry
        chosen = lax.dynamic_slice_in_dim(rows, offset if offset else index * size, size)
        batch = jax.tree.map(lambda array: array[chosen], data)
        logs, after = step(state, sharding.shard_batch(batch) if sharding else batch)
        # The logged loss is the epoch's mean so far, so it stays non-finite from the first such batch on.
        broken = ~numpy.isfinite(logs["loss"]) if "loss" in logs else False
        result = _like(after, state), numpy.where((bad < 0) & broken, index, bad)
        return sharding.replicated(result) if sharding else result

    def block(state: Any, data: Any, rows: Any, start: Any, stop: Any) -> Any:
        begun = (state, numpy.int32(-1))
        return lax.fori_loop(start, stop, lambda index, carry: body(index, carry, data, rows), begun)

    one, wait = jax.jit(body), cast(Any, jax.block_until_ready)

    def steps(state: Any, data: Any, rows: Any, start: int, stop: int) -> Any:
        carry, rows = (state, np.int32(-1)), rows if sharding else numpy.asarray(rows)
        for index in range(start, stop):
            carry = one(np.int32(index), carry, data, rows)
            if sharding and sharding.waits:
                wait(carry)
        return carry

    return jax.jit(block) if fused else steps


def _like(after: Any, before: Any) -> Any:
    """The state in its original dtypes, which a compiled loop must not change."""
    import jax

    return jax.tree.map(lambda new, old: jax.numpy.asarray(new, old.dtype), tuple(after), before)


def make_loops(parts: LoopSpec) -> tuple[Loop, Loop | None]:
    """See `loops.make_loops`."""
    model, held_out, size = parts.model, parts.held_out, parts.options.batch_size
    sharding, check = batch_sharding(parts.gpus, size), None
    whole = fused(model) or _on_a_gpu()
    if held_out is not None:
        check = Loop(model, model.test_step, TEST, held_out, VALIDATION_BATCH, fused=False, sharding=sharding)
    if parts.sampling is None:
        return Loop(model, model.train_step, TRAIN, parts.train, size, whole, sharding=sharding), check
    step = jax_step(model, parts.options, parts.sampling, parts.seed)
    room = parts.sampling.padded_batch
    return Loop(model, step, TRAIN, parts.train, room, whole, parts.sampling.batches * room), check


def _on_a_gpu() -> bool:
    import jax

    return bool(jax.default_backend() == "gpu")
