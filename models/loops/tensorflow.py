"""The loop of the TensorFlow backend: many batches per call, over data that stays in memory as tensors.

With a small network `Model.fit` spends most of its time between batches: on the iterator, the copy and the call. Here
one call runs many of Keras' own `train_step`s and gathers their rows inside the graph, so losses, metrics and
optimizers are Keras' and only the loop is ours. Measured on 2 cores, an epoch of 60,000 rows through 784-128-64-10 in
batches of 32: fit 2.2 s, this loop 0.9 s, this loop with XLA 0.2 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tidegate.models.distributed.tensorflow_replicas import devices_for, shared_step
from tidegate.models.loops import VALIDATION_BATCH, CallPacer, LoopSpec, StatelessLoop, fused, rows_in
from tidegate.models.loops.dp_sgd import tensorflow_step
from tidegate.models.preprocessing.windows import ALIGNED

# Compiling with XLA costs 0.5 s and saves 0.1 to 0.4 ms per batch.
XLA_PAYS_FROM = 5_000  # batches
FEW = 64  # batches of an epoch; as many as a first call has
# A recurrent layer is a loop within each batch: compiling costs 1.5 s and saves 0.1 ms per step, outside of the matrix
# products. In wider layers these take most of the time, and XLA's are not faster.
STEPS_XLA_PAYS_FROM = 15_000
WIDEST = 64
CELLS = frozenset({"SimpleRNN", "LSTM", "GRU"})
# Operations around recurrent layers, which cost little compared with them.
AROUND = frozenset(
    {"Bidirectional", "GetItem", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "Greater"}
    | {"Identity", "Max", "Subtract", "TrueDivide", "ZeroPadding1D"}
)


def xla_pays(model: Any, batches: int) -> bool:
    """Return whether XLA makes a training of `batches` batches faster; the same on all machines of a kind."""
    import tensorflow as tf

    if fused(model):
        return batches >= XLA_PAYS_FROM
    if not fused(model, CELLS | AROUND) or batches * _steps(model) < STEPS_XLA_PAYS_FROM:
        return False
    # On a GPU TensorFlow has a kernel for a whole recurrent layer, which XLA cannot use.
    return not tf.config.list_physical_devices("GPU")


def _steps(model: Any) -> int:
    """Steps of all recurrent layers in a batch; 0 if XLA is not faster for one of them."""
    import keras

    steps = 0
    for layer in model.operations:
        both = type(layer).__name__ == "Bidirectional"
        cells = [layer.forward_layer, layer.backward_layer] if both else [layer]
        if type(cells[0]).__name__ in CELLS:
            length = keras.tree.flatten(layer.input)[0].shape[1]
            if length is None or cells[0].units > WIDEST:
                return 0
            steps += length * len(cells)
    return steps


class Loop(StatelessLoop):
    """Runs one of a compiled model's steps over rows in memory.

    Args:
        step: a compiled Keras model's `train_step` or `test_step`.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows per step.
        xla: compile full batches with XLA; for the last, smaller one it does not pay.
        rows: rows per epoch; None: all of them once.
        seconds_a_call: the intended time of a call; it only decides how often progress is reported.
        shared: a step for full batches, which several devices share; the last, smaller one uses `step`.
        any_rows: whether data of other numbers of rows will be loaded, all with one graph where it has no known batch
            size: where the rows are no whole number of batches.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        data: tuple[Any, ...],
        batch_size: int,
        xla: bool = False,
        rows: int | None = None,
        seconds_a_call: float = 0.25,
        shared: Callable[..., Any] | None = None,
        any_rows: bool = False,
    ) -> None:
        import tensorflow as tf

        self.errors = (tf.errors.OpError, ValueError, TypeError)
        self._size, self._by_size = batch_size, xla or shared is not None
        self._any = _block(step, batch_size)
        self._whole_ones = _block(shared or step, batch_size, xla, by_size=True)
        self._pace = CallPacer(seconds_a_call)
        self.load(data, rows)
        self._of_any_rows = _block(step, batch_size, data=self._data) if any_rows else self._any
        self._step, self._whole_epochs = step, dict[int | None, Any]()

    def load(self, data: tuple[Any, ...], rows: int | None = None, before: int = 0) -> None:
        """Run over other rows from now on; see `loops.WindowLoop`."""
        import keras

        self._data: Any = None  # free the previous rows first
        self._data, self._before = keras.tree.map_structure(_tensor, data), before
        self.rows = rows or rows_in(data)
        self.batches = -(-self.rows // self._size)
        self._whole = self.rows // self._size if self._by_size else 0

    def run(
        self, order: np.ndarray | None = None, start: int = 0, every: int | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Run over the rows once; see `loops.Loop`."""
        import tensorflow as tf

        some = self._of_any_rows if self.rows % self._size else self._any
        rows = tf.constant(np.arange(self.rows, dtype=np.int32) if order is None else order)
        done = start
        while done < self.batches:
            end, block = (self._whole, self._whole_ones) if done < self._whole else (self.batches, some)
            stop = self._pace.stop(done, end, every, self._before)
            began = time.perf_counter()
            bad = int(block(self._data, rows, tf.constant(done), tf.constant(stop)))
            self._pace.adapt(began, stop - done)
            done = stop
            yield done, bad if bad >= 0 else None

    def run_epochs(self, orders: Callable[[int], np.ndarray], epochs: int) -> tuple[int, int | None]:
        """Run over the rows several times in one call; see `loops.EpochsLoop`."""
        import tensorflow as tf

        count = min(epochs, max(1, self._pace.batches // self.batches))
        order = tf.constant(np.stack([orders(epoch) for epoch in range(count)]))
        block = self._epochs_block()
        began = time.perf_counter()
        bad = int(block(self._data, order, tf.constant(self.batches)))
        self._pace.adapt(began, count * self.batches)
        return count, bad if bad >= 0 else None

    def _epochs_block(self) -> Any:
        """The compiled function of several epochs: one for all numbers of rows that are no whole number of batches."""
        rows = None if self.rows % self._size else self.rows
        if rows not in self._whole_epochs:
            made = _epochs_block(self._step, self._size, self._data, rows)
            made.get_concrete_function()  # traced now, which is not the time of a call
            self._whole_epochs[rows] = made
        return self._whole_epochs[rows]

    @property
    def runs_epochs(self) -> bool:
        """See `loops.EpochsLoop`; not where full batches have a function of their own."""
        return not self._by_size and self.batches <= min(FEW, 8 * self._pace.batches)

    def batches_a_call(self) -> int:
        """See `loops.CallPacer`."""
        return self._pace.batches


def _tensor(array: np.ndarray) -> Any:
    """An array as a tensor: on the CPU it shares the memory if that is aligned for TensorFlow, else it is a copy."""
    import tensorflow as tf

    shared = array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % ALIGNED == 0
    if shared and array.size and array.dtype.kind in "iuf" and not tf.config.list_physical_devices("GPU"):
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.convert_to_tensor(array)


def make_loops(parts: LoopSpec) -> tuple[Loop, Loop | None]:
    """See `loops.make_loops`."""
    model, held_out = parts.model, parts.held_out
    any_rows = parts.any_rows
    check = None if held_out is None else Loop(model.test_step, held_out, VALIDATION_BATCH, any_rows=any_rows)
    if parts.sampling is not None:
        step = tensorflow_step(model, parts.options, parts.sampling, parts.seed)
        room = parts.sampling.padded_batch
        return Loop(step, parts.train, room, rows=parts.sampling.batches * room), check
    size = parts.options.batch_size
    devices = devices_for(parts.gpus, size)
    shared = shared_step(model, devices) if devices else None
    return Loop(model.train_step, parts.train, size, parts.xla, shared=shared, any_rows=any_rows), check


def _block(
    step: Callable[..., Any], size: int, xla: bool = False, by_size: bool = False, data: Any = None
) -> Any:
    """The compiled function; with `data` for any number of rows of their shapes, which `size` does not divide."""
    import keras
    import tensorflow as tf

    one_batch = _batch(step, size, by_size)

    def block(data: Any, rows: Any, start: Any, stop: Any) -> Any:
        def body(index: Any, bad: Any) -> tuple[Any, Any]:
            return index + 1, tf.where((bad < 0) & one_batch(data, rows, index), index, bad)

        none = tf.constant(-1)
        return tf.while_loop(lambda index, _: index < stop, body, (start, none), parallel_iterations=1)[1]

    signature = None
    if data is not None:
        number, count = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        signature = [keras.tree.map_structure(_of_any_length, data), number, count, count]
    return tf.function(block, autograph=False, jit_compile=xla, input_signature=signature)


def _epochs_block(step: Callable[..., Any], size: int, data: Any, rows: int | None) -> Any:
    """The compiled function of whole epochs, in as many orders; `rows` of each, or None for any number."""
    import keras
    import tensorflow as tf

    one_batch = _batch(step, size)

    def block(data: Any, orders: Any, batches: Any) -> Any:
        def epoch(index: Any, bad: Any) -> tuple[Any, Any]:
            order = orders[index]

            def body(batch: Any, bad: Any) -> tuple[Any, Any]:
                broken = one_batch(data, order, batch)
                return batch + 1, tf.where((bad < 0) & broken, index * batches + batch, bad)

            begin = (tf.constant(0), bad)
            return index + 1, tf.while_loop(
                lambda batch, _: batch < batches, body, begin, parallel_iterations=1
            )[1]

        begin = (tf.constant(0), tf.constant(-1))
        count = tf.shape(orders)[0]
        return tf.while_loop(lambda index, _: index < count, epoch, begin, parallel_iterations=1)[1]

    of_data = _of_any_length if rows is None else tf.TensorSpec.from_tensor
    orders, count = tf.TensorSpec([None, rows], tf.int32), tf.TensorSpec([], tf.int32)
    signature = [keras.tree.map_structure(of_data, data), orders, count]
    return tf.function(block, autograph=False, input_signature=signature)


def _batch(step: Callable[..., Any], size: int, by_size: bool = False) -> Callable[..., Any]:
    """A step over one batch of rows in an order; whether the loss is no finite number since then."""
    import keras
    import tensorflow as tf

    def rows_of(rows: Any, index: Any) -> Any:
        # XLA and devices that share a batch need a known batch size, and with it TensorFlow computes the same bits as
        # `Model.fit`. A strided slice makes the last batch smaller.
        known = by_size or (rows.shape[0] is not None and rows.shape[0] % size == 0)
        return tf.slice(rows, [index * size], [size]) if known else rows[index * size : (index + 1) * size]

    def one_batch(data: Any, rows: Any, index: Any) -> Any:
        chosen = rows_of(rows, index)
        logs = step(keras.tree.map_structure(lambda tensor: tf.gather(tensor, chosen), data))
        # The logged loss is the mean so far, so it stays non-finite from the first such batch on.
        return ~tf.math.is_finite(tf.cast(logs["loss"], tf.float32)) if "loss" in logs else False

    return one_batch


def _of_any_length(tensor: Any) -> Any:
    import tensorflow as tf

    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
