"""Metrics by name: one spelling in training, early stopping, the search, the gate and MLflow. No framework is imported.

A metric is spelled the same after `val_` (of an epoch), `test_`, `validation_` and `folds_`. What Keras calls it is
taken, too, and read as the name here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError, nearest_name

# Of a classification, with any number of classes; `evaluation.class_metrics` says what each is. Also top_K_accuracy.
OF_CLASSES = ("accuracy", "auc", "balanced_accuracy", "f1", "pr_auc", "precision", "recall")
TOP_K = re.compile(r"top_([1-9]\d*)_accuracy")
# Of sets of labels; `evaluation.label_metrics` says what each is. A label is answered from THRESHOLD on.
OF_LABELS = ("f1_micro", "f1", "auc", "pr_auc", "precision", "recall")
THRESHOLD = 0.5
OF_PIXELS = ("accuracy", "mean_iou")  # of a class at each place
# Of numbers, and what Keras calls each.
OF_NUMBERS = {
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
    "r2": "r2_score",
    "rmse": "root_mean_squared_error",
}
# Keras' other metrics that need no arguments; they are computed each epoch only.
OF_KERAS = (
    *("binary_crossentropy", "categorical_crossentropy", "categorical_hinge", "concordance_correlation"),
    *("cosine_similarity", "false_negatives", "false_positives", "hinge", "kl_divergence", "log_cosh_error"),
    *("pearson_correlation", "poisson", "sparse_categorical_crossentropy", "squared_hinge"),
    *("true_negatives", "true_positives"),
)
DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "regression": ("rmse", "mae"),
    "generation": (),  # Keras' accuracy would count the steps after the end of a text
    "detection": (),
    "multilabel": ("f1_micro",),
    "segmentation": ("accuracy",),
    "tagging": (),  # as of a generation: it would count places without a token
    "multioutput": (),
    "reconstruction": ("rmse", "mae"),
    "anomaly": ("rmse", "mae"),
    "forecasting": (),  # Keras' metrics know one number a step, not its quantiles
}
KNOWN = (*OF_CLASSES, "f1_micro", "mean_iou", *OF_NUMBERS, *OF_KERAS)
# Other spellings, in lower case without signs.
SPELLINGS = {
    **{name.replace("_", ""): name for name in KNOWN},
    **{other.replace("_", ""): name for name, other in OF_NUMBERS.items()},
    **dict.fromkeys(
        ("acc", "binaryaccuracy", "categoricalaccuracy", "sparsecategoricalaccuracy"), "accuracy"
    ),
    **dict.fromkeys(("rocauc", "aucroc", "auroc"), "auc"),
    **dict.fromkeys(("aucpr", "auprc", "averageprecision"), "pr_auc"),
    **dict.fromkeys(("topkcategoricalaccuracy", "sparsetopkcategoricalaccuracy"), "top_5_accuracy"),
    "f1score": "f1",
    **dict.fromkeys(("miou", "meaniou", "onehotmeaniou"), "mean_iou"),
    "bce": "binary_crossentropy",
    "logcosh": "log_cosh_error",
}
PREFIXES = ("val_", "validation_", "test_", "folds_")
HIGHER = (
    *("accuracy", "auc", "precision", "recall", "f1", "fbeta", "r2", "iou", "similarity", "specificity"),
    *("correlation", "true_positives", "true_negatives"),
)


def higher_is_better(name: str) -> bool:
    """Return whether higher values of a metric with this name are better, as for accuracy and r2."""
    if name.endswith("_loss"):  # of one of several outputs, whatever that is called
        return False
    return any(word in name.lower() for word in HIGHER)


def spelled(name: str) -> str | None:
    """The one spelling of a metric, from any that Keras or scikit-learn has; None if it is unknown."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("keras.metrics."))
    top = re.fullmatch(r"top([1-9]\d*)(?:sparse)?(?:categorical)?accuracy", plain)
    return f"top_{top[1]}_accuracy" if top else SPELLINGS.get(plain)


def metric_named(name: str) -> str:
    """The one spelling of a metric in `training.metrics`.

    Raises:
        ValueError: there is no such metric; lists all.
    """
    found = spelled(name)
    if found is None:
        raise ValueError(
            f"unknown metric {name!r} in 'training.metrics'; one of your own has its module before it, as in "
            f"my_metrics:{name}{did_you_mean(name, [*KNOWN, 'top_5_accuracy'])}"
        )
    return found


def monitor_named(name: str) -> str:
    """The one spelling of a monitored value: of a metric, with `val_` before it for that of validation rows."""
    prefix = next((known for known in ("val_", "validation_") if name.startswith(known)), "")
    found = spelled(name.removeprefix(prefix))
    return f"val_{found}" if found and prefix else found or name


def gated_as(name: str) -> str:
    """The one spelling of a metric of a run, such as test_recall for test_Recall; any other name as it is."""
    prefix, inner = _divided(name)
    end = "_mean" if prefix == "folds_" and inner.endswith("_mean") else ""
    # rmse_depth and r2_score are those of the columns depth and score.
    found = (
        None
        if inner.startswith(tuple(f"{known}_" for known in OF_NUMBERS))
        else spelled(inner.removesuffix(end))
    )
    written = "validation_" if prefix == "val_" else prefix
    return f"{written}{found}{end}" if prefix and found else name


def near_metric(name: str, known: Iterable[str]) -> str | None:
    """The known metric of a run that was most likely meant: what is spelled in another way, or of no rows, first.

    A metric that we have under another name is never taken for a neighbour: test_roc_auc is not test_pr_auc.
    """
    names = list(known)
    prefix, inner = _divided(name)
    meant = gated_as(name if prefix else f"test_{name}")
    if meant in names:
        return meant
    return None if spelled(inner) else nearest_name(name, names)


def _divided(name: str) -> tuple[str, str]:
    """The prefix that says of which rows a metric is, in lower case, and the rest."""
    prefix = next((known for known in PREFIXES if name.lower().startswith(known)), "")
    return prefix, name[len(prefix) :]


def require_task(names: Iterable[str], task: str) -> None:
    """Refuse metrics of classes where there are none.

    Raises:
        OptionsError: names the metric and those that fit.
    """
    for name in names:
        if task == "multilabel":
            if name not in (*OF_LABELS, *OF_KERAS):
                raise OptionsError(
                    f"metric {name!r} in 'training.metrics' is not for sets of labels; expected one of: "
                    f"{', '.join((*OF_LABELS, *OF_KERAS))}; choose one of them"
                )
            continue
        if task == "segmentation" and name in OF_PIXELS:
            continue
        if name == "mean_iou":
            raise OptionsError(
                f"metric {name!r} in 'training.metrics' is for a class at each pixel, and this is a {task}; expected "
                "one that fits it; leave it out"
            )
        if task != "classification" and (name in OF_CLASSES or TOP_K.fullmatch(name)):
            if task == "generation" and name == "accuracy":
                continue
            numbers = task in ("regression", "reconstruction", "anomaly")
            of_pixels = OF_PIXELS if task == "segmentation" else ()
            fitting = [*OF_NUMBERS, *OF_KERAS] if numbers else [*of_pixels, *OF_KERAS]
            raise OptionsError(
                f"metric {name!r} in 'training.metrics' is for classes, and this is a {task}; expected one of: "
                f"{', '.join(fitting)}; choose one of them"
            )


def require_ignoring(names: Iterable[str], own: Iterable[str]) -> None:
    """Refuse metrics of a segmentation that count pixels without a class, too.

    Args:
        names: of all metrics.
        own: of those of the user's, which get such pixels as -1.

    Raises:
        OptionsError: names the metrics.
    """
    others = sorted({*names} - {*OF_PIXELS, *own})
    if others:
        raise OptionsError(
            f"metrics {', '.join(others)} in 'training.metrics' count all pixels, and data.target ignores some; "
            "expected accuracy and mean_iou; leave the others out"
        )


def require_top(names: Iterable[str], classes: int) -> None:
    """Refuse a top_K_accuracy that is 1 whatever the model answers.

    Raises:
        OptionsError: names the metric.
    """
    for k in top_k(names):
        if k >= classes:
            raise OptionsError(
                f"metric top_{k}_accuracy in 'training.metrics' is always 1, because the target has {classes} classes; "
                "expected fewer than these; lower it, or leave it out"
            )


def top_k(names: Iterable[str]) -> list[int]:
    """The K of every top_K_accuracy among the names, with or without a prefix; rising, each once."""
    found = (re.search(r"(?:^|_)top_([1-9]\d*)_accuracy(?:_mean)?$", name) for name in names)
    return sorted({int(match[1]) for match in found if match})
