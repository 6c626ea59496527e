"""The metrics of a class at each place in each epoch, as `evaluation.dense_metrics` has them for held-out rows.

They add up over batches on every backend, and leave out places without a class, whose index is negative.
"""

from __future__ import annotations

from typing import Any

WHOLE = 1 << 24  # float32 has all whole numbers up to it; more are counted beside


def pixel_metric(name: str, classes: int) -> Any:
    """Return the Keras metric of that name.

    Args:
        name: accuracy, the share of places that are right, or mean_iou, the mean over classes of intersection over
            union; a class neither true nor chosen is left out.
        classes: the number of classes.
    """
    import keras

    class OfPixels(keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=name)
            self.counts = self.add_variable((2, 3, classes), "zeros", dtype="int32", name="counts")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            del sample_weight  # a metric counts each place once, as the others do
            low = self.counts[1] + _counts(y_true, y_pred, classes)
            self.counts.assign(keras.ops.stack([self.counts[0] + low // WHOLE, low % WHOLE]))

        def result(self) -> Any:
            high, low = (keras.ops.cast(self.counts[part], "float32") for part in (0, 1))
            counts = high * WHOLE + low
            right, wanted, chosen = counts[0], counts[1], counts[2]
            if name == "accuracy":
                return keras.ops.sum(right) / keras.ops.maximum(keras.ops.sum(wanted), 1)
            union = wanted + chosen - right
            seen = keras.ops.cast(union > 0, union.dtype)
            shares = right / keras.ops.maximum(union, 1)
            return keras.ops.sum(shares * seen) / keras.ops.maximum(keras.ops.sum(seen), 1)

    return OfPixels()


def _counts(y_true: Any, y_pred: Any, classes: int) -> Any:
    """How many places of each class are right, are of it, and are taken for it, int32 (3, classes).

    Args:
        y_true: class indices (rows, *shape), or (rows, *shape, 1); or one number a class (rows, *shape, classes).
        y_pred: (rows, *shape, classes), or one probability of the second of two (rows, *shape, 1).
        classes: their number.
    """
    from keras import ops

    if y_pred.shape[-1] == 1:
        answered = ops.cast(y_pred[..., 0] > 0.5, "int32")
    else:
        answered = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
    if len(y_true.shape) == len(y_pred.shape):
        y_true = ops.argmax(y_true, axis=-1) if y_true.shape[-1] == classes else y_true[..., 0]
    true = ops.reshape(ops.cast(y_true, "int32"), (-1,))
    answered = ops.reshape(answered, (-1,))
    there = ops.cast(true >= 0, "int32")
    right = there * ops.cast(true == answered, "int32")
    at = ops.maximum(true, 0)
    pairs = ((right, at), (there, at), (there, answered))
    return ops.stack([ops.segment_sum(one, place, num_segments=classes) for one, place in pairs])
