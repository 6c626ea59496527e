"""The compiled training loop: many batches a call, over data that stays in memory as tensors.

`Model.fit` spends most of a small network's time between batches: the iterator, the copy and the call of
each. Here a call runs many of Keras' own `train_step`s, gathering their rows inside the graph, so losses,
metrics and optimizers are Keras' and only the driving is ours. Measured on 2 cores, an epoch of 60,000 rows
through 784-128-64-10 in batches of 32: fit 2.2 s, this loop 0.9 s, this loop with XLA 0.2 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# Layers that XLA fuses on the CPU. In a compiled loop a convolution is 30 times slower there and a Dropout's random
# numbers 12 times, so one layer that is not listed keeps the model out.
FUSED = {
    *("Activation", "Add", "BatchNormalization", "Concatenate", "Dense", "Embedding", "Flatten"),
    *("InputLayer", "LayerNormalization", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape"),
    *("Cast", "Divide", "ExpandDims", "Maximum", "NotEqual", "Sum"),  # of keras.ops
}
# Compiling with XLA costs 0.5 s and gains 0.1 to 0.4 ms a batch.
XLA_PAYS_FROM = 5_000  # batches


def xla_pays(model: Any, batches: int) -> bool:
    """Return whether XLA makes a training of `batches` batches shorter; the same answer on every machine."""
    operations = getattr(model, "operations", [model])
    return batches >= XLA_PAYS_FROM and all(type(operation).__name__ in FUSED for operation in operations)


class Loop:
    """Runs one of a compiled model's steps over rows in memory.

    Args:
        step: a compiled Keras model's `train_step` or `test_step`.
        data: (inputs by name, target) or (inputs, target, row weights); NumPy arrays, rows first.
        batch_size: rows a step.
        xla: compile whole batches with XLA; the last, smaller one is not worth it.
        seconds_a_call: what a call aims at, which is how often progress is seen and changes nothing else.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        data: tuple[Any, ...],
        batch_size: int,
        xla: bool = False,
        seconds_a_call: float = 0.25,
    ) -> None:
        import keras
        import tensorflow as tf

        self._data = keras.tree.map_structure(tf.convert_to_tensor, data)
        self.rows = len(data[1])
        self._size = batch_size
        self.batches = -(-self.rows // batch_size)
        self._whole = self.rows // batch_size if xla else 0
        self._any = _block(step, batch_size, xla=False)
        self._xla = _block(step, batch_size, xla=True)
        self._seconds = seconds_a_call
        self._chunk = 64

    def run(self, order: np.ndarray | None = None) -> Iterator[tuple[int, int | None]]:
        """Go through the rows once; yield batches done and the first whose loss was not finite, or None.

        Args:
            order: int32 row indices (rows,), each once; None keeps the rows' own order.
        """
        import tensorflow as tf

        rows = tf.constant(np.arange(self.rows, dtype=np.int32) if order is None else order)
        done = 0
        while done < self.batches:
            end, block = (self._whole, self._xla) if done < self._whole else (self.batches, self._any)
            stop = min(end, done + self._chunk)
            begin = time.perf_counter()
            bad = int(block(self._data, rows, tf.constant(done), tf.constant(stop)))
            self._adapt(time.perf_counter() - begin, stop - done)
            done = stop
            yield done, bad if bad >= 0 else None

    def _adapt(self, seconds: float, batches: int) -> None:
        fitting = int(batches * self._seconds / max(seconds, 1e-6))
        self._chunk = max(1, self._chunk // 4, min(fitting, self._chunk * 4))


def _block(step: Callable[..., Any], size: int, xla: bool) -> Any:
    import keras
    import tensorflow as tf

    def rows_of(rows: Any, index: Any) -> Any:
        # XLA wants batches of one known size; a strided slice makes the last one smaller.
        return tf.slice(rows, [index * size], [size]) if xla else rows[index * size : (index + 1) * size]

    def block(data: Any, rows: Any, start: Any, stop: Any) -> Any:
        def body(index: Any, bad: Any) -> tuple[Any, Any]:
            chosen = rows_of(rows, index)
            logs = step(keras.tree.map_structure(lambda tensor: tf.gather(tensor, chosen), data))
            # The loss in the logs is the epoch's mean so far: not finite from the first such batch on.
            broken = ~tf.math.is_finite(tf.cast(logs["loss"], tf.float32)) if "loss" in logs else False
            return index + 1, tf.where((bad < 0) & broken, index, bad)

        none = tf.constant(-1)
        return tf.while_loop(lambda index, _: index < stop, body, (start, none), parallel_iterations=1)[1]

    return tf.function(block, autograph=False, jit_compile=xla)
