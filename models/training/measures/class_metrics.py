"""The metrics of classes in each epoch, as Keras metrics that add up over batches on every backend.

They take the target and the outputs in any form that a loss has: class indices or ones and zeros; one probability or
one a class. What each is says `evaluation.class_metrics`, which computes them for held-out rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

# auc and pr_auc count rows by their score. The bins are narrow where untrained models answer, and wide at the ends: the
# areas are within some 0.001 of those of the sorted scores.
BINS = 2048
CELLS = 1 << 18  # over all classes, more of which have fewer bins
FARTHEST = 16.0  # logit; float32 probabilities are never nearer to 1
NARROW = 50.0


def class_metric(name: str, classes: int) -> Any:
    """Return the Keras metric of that name; see `config.metrics.OF_CLASSES`, besides accuracy.

    Args:
        name: auc, pr_auc, precision, recall, f1, balanced_accuracy or top_K_accuracy.
        classes: the number of classes.
    """
    from tidegate.models.config.metrics import top_k

    top = top_k([name])
    if top:
        return _summed(name, (2,), partial(_hits, top[0]), _share)
    if name in ("auc", "pr_auc"):
        compared = 1 if classes == 2 else classes
        bins = max(64, min(BINS, CELLS // compared))
        value = _area if name == "auc" else _average_precision
        return _summed(name, (2, compared, bins), partial(_histogram, classes, bins), value)
    return _summed(name, (3, classes), partial(_counts, classes), VALUES[name])


def _summed(
    name: str, shape: tuple[int, ...], count: Callable[[Any, Any, Any], Any], value: Callable[[Any], Any]
) -> Any:
    """A metric whose counts add up over batches.

    Args:
        name: its name.
        shape: of the counts.
        count: the counts of class indices (rows,), probabilities (rows, classes) and row weights (rows,).
        value: the metric from the counts.
    """
    import keras

    class Summed(keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=name)
            self.counts = self.add_variable(shape, "zeros", name="counts")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            index, probabilities = _as_classes(y_true, keras.ops.cast(y_pred, self.counts.dtype))
            weights = keras.ops.ones_like(probabilities[:, 0])
            if sample_weight is not None:
                weights *= keras.ops.reshape(keras.ops.cast(sample_weight, weights.dtype), (-1,))
            self.counts.assign_add(count(index, probabilities, weights))

        def result(self) -> Any:
            return value(keras.ops.convert_to_tensor(self.counts))

    return Summed()


def _as_classes(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Class indices int32 (rows,) and probabilities (rows, classes)."""
    from keras import ops

    if len(y_pred.shape) == 2 and y_pred.shape[1] == 1:
        y_pred = ops.concatenate([1 - y_pred, y_pred], axis=1)
    if len(y_true.shape) == 2 and y_true.shape[1] == y_pred.shape[1]:
        y_true = ops.argmax(y_true, axis=1)
    return ops.cast(ops.reshape(y_true, (-1,)), "int32"), y_pred


def _counts(classes: int, index: Any, probabilities: Any, weights: Any) -> Any:
    """Weights of the rows of each class that are right, that are of it, and that it is chosen for (3, classes)."""
    from keras import ops

    chosen = ops.cast(ops.argmax(probabilities, axis=1), "int32")
    right = weights * ops.cast(chosen == index, weights.dtype)
    pairs = ((right, index), (weights, index), (weights, chosen))
    return ops.stack([ops.segment_sum(one, place, num_segments=classes) for one, place in pairs])


def _hits(k: int, index: Any, probabilities: Any, weights: Any) -> Any:
    """Weights of the rows whose class is among the k most probable ones, and of all (2,)."""
    from keras import ops

    own = ops.take_along_axis(probabilities, index[:, None], axis=1)
    before = ops.sum(ops.cast(probabilities > own, weights.dtype), axis=1)
    return ops.stack([ops.sum(weights * ops.cast(before < k, weights.dtype)), ops.sum(weights)])


def _histogram(classes: int, bins: int, index: Any, probabilities: Any, weights: Any) -> Any:
    """Weights of the rows of the rest, and of the class, by class and score (2, classes, bins); of two the second."""
    from keras import ops

    compared = [1] if classes == 2 else list(range(classes))
    score = probabilities[:, 1:] if classes == 2 else probabilities
    tiny = 1e-30
    logit = ops.log(ops.maximum(score, tiny)) - ops.log(ops.maximum(1 - score, tiny)) + math.log(classes - 1)
    part = ops.arcsinh(NARROW * ops.clip(logit, -FARTHEST, FARTHEST)) / math.asinh(NARROW * FARTHEST)
    place = ops.cast(ops.clip((part + 1) / 2 * bins, 0, bins - 1), "int32")
    own = ops.cast(index[:, None] == ops.convert_to_tensor(compared, "int32")[None, :], "int32")
    cell = (own * len(compared) + ops.arange(len(compared), dtype="int32")[None, :]) * bins + place
    spread = ops.reshape(weights[:, None] * ops.ones_like(score), (-1,))
    flat = ops.segment_sum(spread, ops.reshape(cell, (-1,)), num_segments=2 * len(compared) * bins)
    return ops.reshape(flat, (2, len(compared), bins))


def _share(counts: Any) -> Any:
    from keras import ops

    return counts[0] / ops.maximum(counts[1], 1e-30)


def _precision(counts: Any) -> Any:
    return _of_classes(counts, _ratio(counts[0], counts[2]))


def _recall(counts: Any) -> Any:
    found = _of_classes(counts, _ratio(counts[0], counts[1]))
    return _defined(found, counts[1][1] > 0) if counts.shape[1] == 2 else found


def _f1(counts: Any) -> Any:
    return _mean(_ratio(2 * counts[0], counts[1] + counts[2]), counts[1] + counts[2] > 0)


def _balanced_accuracy(counts: Any) -> Any:
    return _mean(_ratio(counts[0], counts[1]), counts[1] > 0)


VALUES: dict[str, Callable[[Any], Any]] = {
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "balanced_accuracy": _balanced_accuracy,
}


def _of_classes(counts: Any, values: Any) -> Any:
    return values[1] if values.shape[0] == 2 else _mean(values, counts[1] + counts[2] > 0)


def _area(counts: Any) -> Any:
    """The area under the ROC curve; rows of one bin are ties."""
    from keras import ops

    others, own = counts[0], counts[1]
    below = ops.cumsum(others, axis=1) - others / 2
    pairs = ops.sum(own, axis=1) * ops.sum(others, axis=1)
    return _mean(_ratio(ops.sum(own * below, axis=1), pairs), pairs > 0)


def _average_precision(counts: Any) -> Any:
    from keras import ops

    others, own = ops.flip(counts[0], axis=1), ops.flip(counts[1], axis=1)
    right = ops.cumsum(own, axis=1)
    precision = _ratio(right, right + ops.cumsum(others, axis=1))
    rows = ops.sum(own, axis=1)
    return _mean(_ratio(ops.sum(own * precision, axis=1), rows), rows > 0)


def _ratio(upper: Any, lower: Any) -> Any:
    """upper / lower; 0 where lower is."""
    from keras import ops

    return upper / ops.where(lower > 0, lower, ops.ones_like(lower))


def _mean(values: Any, there: Any) -> Any:
    """The mean of the values that are there; NaN, which is no value, if none is."""
    from keras import ops

    weights = ops.cast(there, values.dtype)
    return _defined(_ratio(ops.sum(values * weights), ops.sum(weights)), ops.any(there))


def _defined(value: Any, there: Any) -> Any:
    from keras import ops

    return ops.where(there, value, ops.full_like(value, math.nan))
