"""The checks of model, training and their like, which each choice of a search must pass too."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.models.config.losses import check_loss, check_smoothing, task_of
from tidegate.models.config.metrics import require_task
from tidegate.models.config.monitors import require_monitors
from tidegate.models.config.own_metrics import metric_names
from tidegate.models.config.training import check_privacy
from tidegate.models.families.build import check_model, check_task
from tidegate.models.training.optimizers import check_optimizer
from tidegate.pipelines.commands.model_file import names_in
from tidegate.pipelines.commands.preflight.masks import mask_checks
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.spec import Experiment


def part_checks(experiment: Experiment) -> Iterator[Callable[[], object]]:
    """The checks that each choice of a search must pass too."""
    model, training, task = experiment.model.options, experiment.training, stated_task(experiment)
    if experiment.model.trained is None:
        stated = task if experiment.data.dataset is None else experiment.data.stated_task
        yield partial(_check_model, model, stated)
    yield partial(check_optimizer, training.optimizer)
    yield partial(_check_loss, experiment, task)
    yield partial(_check_monitors, experiment, task)
    yield partial(check_privacy, model, dict(training))
    yield partial(_check_shared, experiment)
    yield partial(_check_numpy, experiment)
    yield partial(_check_calibration, experiment)
    yield partial(_check_thresholds, experiment, task)
    yield partial(_check_settings, experiment, task)
    if task == "segmentation":
        yield from mask_checks(experiment)


def stated_task(experiment: Experiment) -> str | None:
    """The task that is stated: by the target's kind, by name, or by the loss."""
    return experiment.data.stated_task or task_of(experiment.training.loss)


def _check_shared(experiment: Experiment) -> None:
    """Refuse what several devices or nodes cannot do together."""
    gpus, nodes = experiment.resources.gpus, experiment.resources.nodes
    if experiment.training.privacy is not None and max(gpus, nodes) > 1:
        raise ExperimentError(
            f"training.privacy: set, with resources.gpus: {gpus} and resources.nodes: {nodes}; its batches are "
            "drawn on one device; set both to 1 at most, or leave training.privacy out"
        )
    if experiment.data.split.folds is not None and nodes > 1:
        raise ExperimentError(
            f"data.split.folds: {experiment.data.split.folds}, with resources.nodes: {nodes}; folds are trained on "
            "one node; set resources.nodes: 1, or leave data.split.folds out"
        )


def _check_model(model: Mapping[str, Any], task: str | None) -> None:
    check_model(model)
    check_task(model, task)


def _check_loss(experiment: Experiment, task: str | None) -> None:
    _check_own(experiment, "training.loss", _name_of(experiment.training.loss))
    check_loss(experiment.training.loss, task)
    check_smoothing(experiment.training.label_smoothing, experiment.training.loss, task)


def _name_of(loss: str | Mapping[str, Any] | None) -> str:
    return str(loss.get("name", "")) if isinstance(loss, Mapping) else loss or ""


def _check_own(experiment: Experiment, key: str, name: str) -> None:
    """Refuse the name of something in the user's model file, which nothing would look for there."""
    file, known = experiment.model.file, task_of(name)
    of_others = known == "forecasting" and experiment.data.forecast is None  # so it can't be meant
    if file is None or (known is not None and not of_others):
        return
    if name in names_in(file):
        raise ExperimentError(
            f"{key}: {name} is defined in {file}; expected one of Keras, or a reference to one of your own; write it "
            f"with its module: {Path(file).stem}:{name}"
        )


def _check_monitors(experiment: Experiment, task: str | None) -> None:
    """Refuse metrics of another task, and a monitored value that no epoch has."""
    training, validated = experiment.training, experiment.data.split.validated
    if task is not None:
        require_task(metric_names(training.metrics or ()), task)
    require_monitors(training, task, validated, own=experiment.model.file is not None)


def _check_numpy(experiment: Experiment) -> None:
    if experiment.training.backend == "numpy" and experiment.resources.gpus:
        raise ExperimentError(
            f"resources.gpus: {experiment.resources.gpus}; training.backend: numpy computes on the CPU; "
            "leave one of the two out"
        )


def _check_settings(experiment: Experiment, task: str | None) -> None:
    """Refuse settings for texts or boxes where the task is another one."""
    task_of_key = {"decoding": "generation", "detection": "detection"}
    for key, wanted in task_of_key.items():
        if getattr(experiment.serving, key) is not None and task not in (None, wanted):
            raise ExperimentError(
                f"serving.{key} is for a {wanted}, and this is a {task}; leave it out, or state data.task: {wanted}"
            )


def _check_thresholds(experiment: Experiment, task: str | None) -> None:
    if experiment.training.thresholds is None:
        return
    if task not in (None, "multilabel"):
        raise ExperimentError(
            f"training.thresholds: validation is for sets of labels, and this is a {task}; leave it out"
        )
    if not experiment.data.split.validated:
        raise ExperimentError(
            "training.thresholds: validation, and data.split.validation is 0; expected validation rows, on which they "
            "are chosen; set it, such as 0.1, or leave thresholds out"
        )


def _check_calibration(experiment: Experiment) -> None:
    if experiment.training.calibration is None:
        return
    if (experiment.data.task or task_of(experiment.training.loss)) == "regression":
        raise ExperimentError(
            "training.calibration: temperature is for the probabilities of a classification, and this is a "
            "regression; leave it out"
        )
    if not experiment.data.split.validated:
        raise ExperimentError(
            "training.calibration: temperature is fitted on validation rows, and data.split.validation is 0; "
            "set it, such as 0.1, or leave calibration out"
        )
