"""Keras callbacks for early stopping and plateaus, and which values of a metric are better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tidegate.models.config.monitors import require_monitor
from tidegate.models.config.own_metrics import higher_is_better
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Plateau


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

    found = keras_callbacks(options, validated, list(model.get_metrics_result()))
    model.stop_training = False
    return keras.callbacks.CallbackList(found, model=model)


def keras_callbacks(options: Training, validated: bool, known: Sequence[str] | None) -> list[Any]:
    """Return Keras' callbacks for early stopping and plateaus.

    Args:
        options: the experiment's `training` section.
        validated: whether there are held-out rows.
        known: the loss and metrics of each epoch; None where only a step of the user's knows them.

    Raises:
        OptionsError: a monitored value is not computed by the training.
    """
    import keras

    found: list[Any] = []
    stopping, plateau = options.early_stopping, options.learning_rate_schedule
    if stopping is not None:
        monitor = _monitor(known, stopping.monitor, validated, "training.early_stopping.monitor")
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
        monitor = _monitor(known, plateau.monitor, validated, "training.learning_rate_schedule.monitor")
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=monitor,
                mode=_mode(monitor, options),
                factor=plateau.factor,
                patience=plateau.patience,
                min_lr=plateau.minimum,
            )
        )
    return found


def _mode(monitor: str, options: Training) -> str:
    return "max" if higher_is_better(monitor, options.metrics) else "min"


def _monitor(known: Sequence[str] | None, name: str | None, validated: bool, where: str) -> str:
    if name is None:
        return "val_loss" if validated else "loss"
    if known is not None:
        require_monitor(name, known, validated, where)
    return name
