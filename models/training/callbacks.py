"""Keras callbacks for early stopping and plateaus, and which values of a metric are better."""

from __future__ import annotations

import math
from typing import Any

from tidegate.models.config.monitors import require_monitor
from tidegate.models.config.own_metrics import higher_is_better
from tidegate.models.config.training import Plateau, Training


def is_better(value: float, than: float, higher: bool) -> bool:
    """Return whether `value` is strictly better; NaN is worse than every number."""
    if math.isnan(value) or math.isnan(than):
        return not math.isnan(value)
    return value > than if higher else value < than


def callbacks_for(model: Any, options: Training, validated: bool) -> Any:
    """Return a Keras `CallbackList` for the options.

    Raises:
        OptionsError: a monitored value is not computed by the training.
    """
    import keras

    found: list[Any] = []
    stopping, plateau = options.early_stopping, options.learning_rate_schedule
    if stopping is not None:
        monitor = _monitor(model, stopping.monitor, validated, "training.early_stopping.monitor")
        found.append(
            keras.callbacks.EarlyStopping(
                monitor=monitor,
                mode=_mode(monitor, options),
                patience=stopping.patience,
                min_delta=stopping.min_delta,
                restore_best_weights=stopping.restore_best,
            )
        )
    if isinstance(plateau, Plateau):
        monitor = _monitor(model, plateau.monitor, validated, "training.learning_rate_schedule.monitor")
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=monitor,
                mode=_mode(monitor, options),
                factor=plateau.factor,
                patience=plateau.patience,
                min_lr=plateau.minimum,
            )
        )
    model.stop_training = False
    return keras.callbacks.CallbackList(found, model=model)


def _mode(monitor: str, options: Training) -> str:
    return "max" if higher_is_better(monitor, options.metrics) else "min"


def _monitor(model: Any, name: str | None, validated: bool, where: str) -> str:
    if name is None:
        return "val_loss" if validated else "loss"
    require_monitor(name, list(model.get_metrics_result()), validated, where)
    return name
