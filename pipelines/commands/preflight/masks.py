"""What the experiment file alone shows to be wrong with the training on a class at each pixel, as the step says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tidegate.models.config.class_weights import weights_by_place
from tidegate.models.config.losses import (
    loss_named,
    require_value_a_pixel,
    with_ignored,
    with_label_smoothing,
)
from tidegate.models.config.metrics import require_ignoring
from tidegate.models.config.own_metrics import metric_names, own_metrics
from tidegate.models.config.training_parts import require_kept_places
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.data_parts.columns import TargetSpec
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.steps.trials.trial_checks import unfit_options


def mask_checks(experiment: Experiment) -> Iterator[Callable[[], object]]:
    """The checks of a segmentation, which each choice of a search must pass too."""
    training = experiment.training
    yield partial(_check_options, experiment)
    yield partial(_check_loss, experiment)
    if _ignores(experiment):
        yield partial(
            require_ignoring, metric_names(training.metrics or ()), own_metrics(training.metrics or ())
        )
    names = class_names(experiment)
    if training.class_weights is not None and names:
        yield partial(weights_by_place, training.class_weights, names)
    if training.augmentation is not None:
        yield partial(require_kept_places, training.augmentation)


def class_names(experiment: Experiment) -> Sequence[str]:
    """The classes that a target of kind mask names; () if it names none."""
    mask = _mask(experiment)
    classes = (mask and mask.classes) or ()
    return list(classes.values()) if isinstance(classes, dict) else classes


def _ignores(experiment: Experiment) -> bool:
    mask = _mask(experiment)
    return mask is not None and mask.ignore is not None


def _mask(experiment: Experiment) -> TargetSpec | None:
    """The target of kind mask."""
    stated = (entry for entry in experiment.data.target or () if isinstance(entry, TargetSpec))
    return next((entry for entry in stated if entry.kind == "mask"), None)


def _check_options(experiment: Experiment) -> None:
    for sentence in unfit_options("segmentation", dict(experiment.training), experiment.data.split.folds):
        raise ExperimentError(sentence)


def _check_loss(experiment: Experiment) -> None:
    """A model that its build compiles has a loss of its own, of which the file says nothing."""
    training = experiment.training
    named = loss_named(training.loss, "segmentation", len(class_names(experiment)) or 2)
    loss = with_label_smoothing(named, training.label_smoothing)
    require_value_a_pixel(loss, training.class_weights is not None, experiment.data.weight is not None)
    if _ignores(experiment):
        with_ignored(loss, training.label_smoothing)
