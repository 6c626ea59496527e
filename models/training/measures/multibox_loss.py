"""The multibox loss: cross-entropy of the classes and smooth L1 of the offsets.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, equations 1 to 3 and hard negative mining.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate.models.data.default_boxes import OFFSETS

LEAST = 8  # unmatched default boxes of each image that always count, however few boxes it has


def multibox(negatives: float = 3.0, alpha: float = 1.0) -> Callable[[Any, Any], Any]:
    """Cross-entropy of the classes and smooth L1 of the offsets, over the number of matched default boxes.

    Of the unmatched default boxes only those with the largest loss count, `negatives` times the number of matched ones
    (hard negative mining). All images have the same weight, however many boxes they have.

    Args:
        negatives: unmatched default boxes per matched one; the paper's 3 when not given.
        alpha: the offsets' weight; the paper's 1 when not given.
    """
    if not (negatives > 0 and alpha > 0):
        raise ValueError(
            f"negatives is {negatives} and alpha is {alpha}; expected both above 0; correct them"
        )

    def loss(y_true: Any, y_pred: Any) -> Any:
        """The loss of each image (rows,).

        Args:
            y_true: float32 (rows, default boxes, 5), see `preprocessing.target.box_target.BoxTarget.encode`.
            y_pred: float32 (rows, default boxes, 1 + classes + 4).
        """
        from keras import ops

        label = ops.cast(y_true[..., 0], "int32")
        log_p = ops.log_softmax(y_pred[..., :-OFFSETS], axis=-1)
        wrong = -ops.sum(log_p * ops.one_hot(label, log_p.shape[-1], dtype=log_p.dtype), axis=-1)
        there = ops.cast(label > 0, wrong.dtype)
        count = ops.sum(there, axis=-1)
        learned = there + _hardest(wrong, there, negatives * count)
        off = ops.abs(y_pred[..., -OFFSETS:] - y_true[..., 1:])
        smooth = ops.sum(ops.where(off < 1.0, 0.5 * off * off, off - 0.5), axis=-1)
        whole = ops.sum(wrong * learned + alpha * smooth * there, axis=-1)
        return whole / ops.maximum(count, 1.0)

    return loss


def _hardest(wrong: Any, there: Any, count: Any) -> Any:
    """1 for the unmatched default boxes with the largest loss (rows, default boxes), else 0."""
    from keras import ops

    others = ops.stop_gradient(ops.where(there > 0, -1.0, wrong))
    falling = -ops.sort(-others, axis=-1)
    last = ops.cast(ops.clip(count, LEAST, others.shape[-1]), "int32") - 1
    limit = ops.take_along_axis(falling, ops.expand_dims(last, -1), axis=-1)
    return ops.cast(ops.logical_and(others >= limit, others >= 0), wrong.dtype)
