"""Whether an epoch has the metric that a training monitors, asked before any data is read."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.models.config.metrics import DEFAULT_METRICS, HIGHER, PREFIXES, spelled
from tidegate.models.config.options import did_you_mean
from tidegate.models.config.own_metrics import metric_names, own_metric
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Plateau
from tidegate.models.errors import OptionsError


def require_monitors(training: Training, task: str | None, validated: bool, own: bool) -> None:
    """Refuse a monitored value that no epoch has, before any data is read.

    Args:
        training: the options.
        task: "classification", "regression", "generation" or "detection"; None if it is inferred from the data.
        validated: whether there are validation rows.
        own: whether the model is the user's, whose metrics are only known once it is built.

    Raises:
        OptionsError: names the option and the values that there are.
    """
    schedule = training.learning_rate_schedule
    plateau = schedule if isinstance(schedule, Plateau) else None
    names: Sequence[str] = metric_names(training.metrics or ())
    if training.metrics is None:
        tasks = (task,) if task else ("classification", "regression")
        names = [name for one in tasks for name in DEFAULT_METRICS[one]]
    for key, part in (("early_stopping", training.early_stopping), ("learning_rate_schedule", plateau)):
        if part is not None and part.monitor is not None:
            where = f"training.{key}.monitor"
            _require_rows(part.monitor, validated, where)
            _require_direction(part.monitor, training, where)
            if not own:
                require_monitor(part.monitor, ("loss", *names), validated, where)


def _require_rows(monitor: str, validated: bool, where: str) -> None:
    """Refuse a value of rows that no epoch looks at, whatever its name is."""
    prefix = next((one for one in PREFIXES if monitor.startswith(one)), "")
    name = monitor.removeprefix(prefix)
    name = spelled(name) or name
    if prefix in ("test_", "folds_"):
        raise OptionsError(
            f"option {where!r} is {monitor!r}, and an epoch has no such value; expected one of the training or the "
            f"validation rows; name {f'val_{name}' if validated else name}"
        )
    if prefix and not validated:
        raise OptionsError(
            f"option {where!r} is {monitor!r}, and data.split.validation is 0; expected validation rows for it; set "
            f"data.split.validation, such as 0.1, or name {name}"
        )


def _require_direction(monitor: str, training: Training, where: str) -> None:
    """Refuse to follow a metric of the user's of which nothing says whether more is better."""
    own = own_metric(monitor, training.metrics)
    if own is not None and own.higher is None and not any(word in own.name for word in HIGHER):
        raise OptionsError(
            f"option {where!r} is {monitor!r}, and nothing says whether higher values of it are better; expected this "
            f"in training.metrics; write it there as {{name: {own.reference}, higher_is_better: true}}, or false"
        )


def require_monitor(monitor: str, names: Sequence[str], validated: bool, where: str) -> None:
    """Refuse a monitored value that no epoch has.

    Args:
        monitor: a value, such as val_auc.
        names: the loss and the metrics of each epoch.
        validated: whether there are validation rows.
        where: the option, for messages.

    Raises:
        OptionsError: names the option and the values that there are.
    """
    known = [*names, *(f"val_{name}" for name in names if validated)]
    if monitor in known:
        return
    metric = spelled(monitor.removeprefix("val_"))
    if metric is not None and metric not in names:
        hint = f"; expected one of: {', '.join(sorted(known))}; add {metric} to training.metrics"
    else:
        hint = did_you_mean(monitor, known)
    more = "" if validated else " For validation rows set data.split.validation."
    raise OptionsError(f"option {where!r} is {monitor!r}, which is not computed{hint}{more}")
