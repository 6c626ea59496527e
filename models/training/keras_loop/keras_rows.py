"""What Keras' own `fit` is given: the rows in the order of each epoch, and callbacks that survive a second call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


class KerasRows:
    """The training rows, and where an epoch stands; see `loops.Loop` for the attributes.

    Args:
        data: model inputs in the form that the model takes, target, and weights of rows if there are any.
        batch_size: rows per batch.
        order: the order of an epoch's rows, int (rows,).
    """

    errors: tuple[type[Exception], ...] = (Exception,)

    def __init__(self, data: tuple[Any, ...], batch_size: int, order: Callable[[int], np.ndarray]) -> None:
        import keras

        self._data, self._size, self._order = data, batch_size, order
        self.rows = len(keras.tree.flatten(data)[0])
        self.batches = -(-self.rows // batch_size)

    def epochs(self, first: int, start: int = 0) -> Any:
        """A `keras.utils.PyDataset` of the epochs from `first` on, each without its first `start` batches."""
        import keras

        at = {"epoch": first - 1}

        def batch(_: Any, index: int) -> tuple[Any, ...]:
            return self._batch(max(first, at["epoch"]), start + index)

        def begin(_: Any) -> None:
            at["epoch"] += 1

        methods = {
            "num_batches": property(lambda _: self.batches - start),
            "__getitem__": batch,
            "on_epoch_begin": begin,
        }
        return type("EpochRows", (keras.utils.PyDataset,), methods)()

    def _batch(self, epoch: int, index: int) -> tuple[Any, ...]:
        import keras

        chosen = self._order(epoch)[index * self._size : (index + 1) * self._size]
        return tuple(keras.tree.map_structure(lambda array: array[chosen], part) for part in self._data)

    def state(self) -> dict[str, np.ndarray]:
        """Nothing: all state is in variables."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Nothing to do."""

    def batches_a_call(self) -> int:
        """Keras calls its step once a batch."""
        return 1


def callback_list(
    callbacks: Iterable[Any], model: Any, epochs: int, batches: int, start: Callable[[], int]
) -> Any:
    """A `keras.callbacks.CallbackList` for several calls of `fit` that are one training.

    Args:
        callbacks: in order.
        model: that is trained.
        epochs: of the training.
        batches: of an epoch.
        start: the number of batches that the present call of `fit` does not see.

    Returns:
        A list that begins once, and ends where `end_training` says so.
    """
    import keras

    base: Any = keras.callbacks.CallbackList
    begun: list[bool] = []

    def on_train_begin(self: Any, logs: Any = None) -> None:
        if not begun:
            begun.append(True)
            base.on_train_begin(self, logs)

    def on_train_batch_begin(self: Any, batch: int, logs: Any = None) -> None:
        base.on_train_batch_begin(self, start() + batch, logs)

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        base.on_train_batch_end(self, start() + batch, logs)

    methods = {
        "on_train_begin": on_train_begin,
        "on_train_end": lambda *_, **__: None,
        "on_train_batch_begin": on_train_batch_begin,
        "on_train_batch_end": on_train_batch_end,
        "end_training": base.on_train_end,
    }
    made = type("CallbackList", (base,), methods)
    return made(list(callbacks), add_history=True, model=model, epochs=epochs, steps=batches, verbose=0)
