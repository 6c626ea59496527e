"""Metrics of the user's over all rows of a split, as the loss sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.models.config.losses import dense_task, encode_target, loss_named, with_label_smoothing
from tidegate.models.config.own_metrics import own_metrics
from tidegate.models.data.columns import Array
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.preprocessing.schema import Target
from tidegate.models.training.own.own_objects import measure


def own_scores(training: Mapping[str, Any], target: Target, raw: Array, truth: Array) -> Evaluation:
    """The user's metrics, each called once with all rows; none where `training.metrics` has none.

    Args:
        training: the section, of which `metrics`, `loss` and `label_smoothing` are read.
        target: what is predicted.
        raw: the model's outputs, float32 `(n, units)`.
        truth: the target as `encode_target` of the schema gives it, rows first.

    Raises:
        UserCodeError: a metric raises.
    """
    metrics = own_metrics(training["metrics"])
    if not metrics:
        return Evaluation()
    loss = with_label_smoothing(
        loss_named(training["loss"], dense_task(target.task, target.shape), len(target.classes)),
        training["label_smoothing"],
    )
    encoded = encode_target(loss.target, truth, len(target.classes))
    return Evaluation.of({name: measure(one, encoded, raw) for name, one in metrics.items()})
