"""The metrics of sets of labels in each epoch: Keras' own, as `evaluation.label_metrics` has them for held-out rows."""

from __future__ import annotations

from typing import Any

from tidegate.models.config.metrics import OF_LABELS, THRESHOLD


def label_metric(name: str, labels: int) -> Any:
    """Return the Keras metric of that name for targets and outputs (rows, labels); a name of Keras' as it is.

    Args:
        name: of `config.metrics.OF_LABELS`, or of `config.metrics.OF_KERAS`.
        labels: the number of labels.
    """
    from keras import metrics

    if name not in OF_LABELS:
        return name
    if name in ("auc", "pr_auc"):
        curve = "ROC" if name == "auc" else "PR"
        return metrics.AUC(curve=curve, multi_label=True, num_labels=labels, name=name)
    if name in ("f1", "f1_micro"):
        average = "macro" if name == "f1" else "micro"
        return metrics.F1Score(average=average, threshold=THRESHOLD, name=name)
    kind = metrics.Precision if name == "precision" else metrics.Recall
    return kind(thresholds=THRESHOLD, name=name)
