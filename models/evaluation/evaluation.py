"""The metrics of some rows: each is a number, or undefined for a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NAMES = {  # by task; the first is what trials are ranked by
    "classification": (
        *("accuracy", "loss", "f1", "ece", "auc"),
        *("precision", "recall", "balanced_accuracy", "pr_auc"),
    ),
    "regression": ("rmse", "mae", "r2", "loss"),
    "generation": ("perplexity", "accuracy", "loss", "error_rate", "perplexity_per_character"),
    "detection": ("map50", "map"),
    "segmentation": ("mean_iou", "accuracy", "loss", "f1"),
    "tagging": ("entity_f1", "accuracy", "loss", "f1"),
    "multioutput": ("loss",),
    "reconstruction": ("loss", "rmse", "mae", "r2"),
    "anomaly": ("loss", "auc", "pr_auc", "f1", "precision", "recall", "alarms"),
    "forecasting": ("pinball", "mase", "mae", "rmse", "coverage", "coverage_error", "loss"),
    "multilabel": (
        *("f1_micro", "loss", "f1", "auc", "pr_auc"),
        *("precision", "recall", "subset_accuracy", "hamming"),
    ),
}
# Of anomalies, where it is known which rows are some.
OF_KNOWN = ("auc", "pr_auc", "f1", "precision", "recall")


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name; every metric is in one of the two.

    Attributes:
        values: those that are defined, all finite.
        undefined: why the others have no value, such as "all rows have the class 'fine'".
    """

    values: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, measured: Mapping[str, float | str]) -> Evaluation:
        """From numbers, and reasons in place of numbers; NaN and infinities are undefined too."""
        numbers = {name: one for name, one in measured.items() if not isinstance(one, str)}
        values = {name: float(one) for name, one in numbers.items() if math.isfinite(one)}
        reasons = {name: one for name, one in measured.items() if isinstance(one, str)}
        overflown = {
            name: f"it is {one}, no finite number" for name, one in numbers.items() if name not in values
        }
        return cls(values, reasons | overflown)

    @classmethod
    def without(cls, names: Iterable[str], reason: str) -> Evaluation:
        """All of these are undefined."""
        return cls({}, dict.fromkeys(names, reason))

    def prefixed(self, prefix: str) -> Evaluation:
        """The same metrics, `prefix` before each name."""
        return Evaluation(
            {f"{prefix}{name}": value for name, value in self.values.items()},
            {f"{prefix}{name}": reason for name, reason in self.undefined.items()},
        )

    def __or__(self, other: Evaluation) -> Evaluation:
        """All metrics of both; the other's where both have one."""
        values = {name: value for name, value in self.values.items() if name not in other.undefined}
        undefined = {name: reason for name, reason in self.undefined.items() if name not in other.values}
        return Evaluation(values | other.values, undefined | other.undefined)


def iou_names(classes: Sequence[Any]) -> list[str]:
    """The name of each class's metric, iou_CLASS, with `_` for what MLflow has in no name.

    Where two names would be one the class's place is behind them.
    """
    plain = [re.sub(r"[^\w.\- /]", "_", str(name)) for name in classes]
    return [
        f"iou_{name}" if plain.count(name) == 1 else f"iou_{name}_{place}" for place, name in enumerate(plain)
    ]
