"""Checks of an experiment before any step runs, without heavy imports."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.models.config.losses import check_loss, check_smoothing, task_of
from tidegate.models.config.metrics import require_task, top_k
from tidegate.models.config.mistakes import WHOLE
from tidegate.models.config.monitors import require_monitors
from tidegate.models.config.own_metrics import metric_names, own_metrics
from tidegate.models.config.training import check_privacy
from tidegate.models.distributed.devices import require_backend
from tidegate.models.errors import ModelsError, OptionsError, UnknownOptionError
from tidegate.models.families.build import check_model, check_task
from tidegate.models.training.optimizers import check_optimizer
from tidegate.models.tuning.entries import Between, Entry
from tidegate.models.tuning.grid import grid_size
from tidegate.models.tuning.space import SearchSpace, require_used, space_of
from tidegate.pipelines.commands.model_file import check_model_file, names_in
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.code import references_in
from tidegate.pipelines.experiment.dotted import with_values
from tidegate.pipelines.experiment.gate import EPSILON, Criterion, check_limits, check_name, criteria
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.search import Search
from tidegate.pipelines.experiment.search_space import combinations, losses
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.planning.data_source import check_source
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import load

NEXT = "\n  "  # between two mistakes


def check(experiment: Experiment, home: Home) -> None:
    """Refuse an experiment that a step would refuse later, after minutes or hours of work.

    Args:
        experiment: validated, its paths absolute.
        home: where its endpoint may live already.

    Raises:
        ExperimentError, ModelsError: one line per mistake, which names the key, what was received and what was
            expected.
    """
    _run_checks(_checks(experiment, home))
    hosting(home).check(load(home.store, experiment.endpoint), experiment.serving)


def _run_checks(checks: Iterable[Callable[[], object]]) -> None:
    """Run all checks and report all mistakes at once; a single mistake keeps its own error."""
    found: list[ExperimentError | ModelsError] = []
    for check_one in checks:
        try:
            check_one()
        except (ExperimentError, ModelsError) as error:
            found.append(error)
    lines = list(dict.fromkeys(line for error in found for line in str(error).split(NEXT)))
    if len(lines) > 1:
        raise ExperimentError(NEXT.join(lines)) from found[0]
    if found:
        raise found[0]


def _checks(experiment: Experiment, home: Home) -> Iterator[Callable[[], object]]:
    task = _task(experiment)
    yield partial(check_source, experiment.data, home.endpoint_of)
    yield partial(check_model_file, experiment.model.file, builds=experiment.model.trained is None)
    yield partial(_check_own_code, experiment, home)
    yield partial(_check_notify, experiment, home)
    yield from _part_checks(experiment)
    if home.target is not None:
        yield partial(home.target.check_node_selector, experiment.resources.node_selector)
    else:  # a cluster's images bring their own
        yield partial(require_backend, experiment.training.backend)
    yield partial(_check_space, experiment)
    for criterion in criteria(experiment.gate):
        yield partial(check_name, criterion.metric, task, tuple(own_metrics(experiment.training.metrics)))
        yield partial(check_limits, criterion.metric, criterion.minimum, criterion.maximum)
        yield partial(_check_criterion, criterion, experiment)
    yield partial(_check_explains, experiment, task)


def _check_own_code(experiment: Experiment, home: Home) -> None:
    if experiment.code.secrets or references_in(experiment.model_dump(mode="json")):
        from tidegate.pipelines.commands.own_code import check_own_code  # slow, and for most needless

        check_own_code(experiment, home)


def _check_notify(experiment: Experiment, home: Home) -> None:
    if experiment.notify:
        from tidegate.pipelines.driver.notifications import check_notify  # as above

        check_notify(experiment, home)


def _task(experiment: Experiment) -> str | None:
    """The task that is stated: by the target's kind, by name, or by the loss."""
    return experiment.data.stated_task or task_of(experiment.training.loss)


def _check_criterion(criterion: Criterion, experiment: Experiment) -> None:
    """Check what a metric needs: folds, privacy, or test rows, the only ones the champion is scored on."""
    if criterion.metric.startswith("folds_") and experiment.data.split.folds is None:
        raise ExperimentError(
            f"gate.metric: {criterion.metric} is a mean over folds, and there are none; set data.split.folds, such as 5"
        )
    asked = top_k(metric_names(experiment.training.metrics or ()))
    if set(top_k([criterion.metric])) - set(asked):
        name = f"top_{top_k([criterion.metric])[0]}_accuracy"
        raise ExperimentError(
            f"gate.metric: {criterion.metric} is computed where it is asked for; add {name} to training.metrics"
        )
    if criterion.metric.startswith("validation_") and not experiment.data.split.validated:
        raise ExperimentError(
            f"gate.metric: {criterion.metric} is of validation rows, and data.split.validation is 0; set it, such "
            "as 0.1, or gate a test_ metric"
        )
    if criterion.metric == EPSILON and experiment.training.privacy is None:
        raise ExperimentError(
            "gate.metric: epsilon is what training.privacy spends, and there is none; set training.privacy, such as "
            "{noise_multiplier: 1.0, clip_norm: 1.0}"
        )
    if criterion.improve_on_champion and not criterion.metric.startswith("test_"):
        raise ExperimentError(
            f"gate.improve_on_champion: {criterion.improve_on_champion} of {criterion.metric}; the champion has only "
            "metrics of the test rows; name a test_ metric, or leave improve_on_champion out here"
        )


def _check_explains(experiment: Experiment, task: str | None) -> None:
    """Refuse to explain written texts and found boxes: they have no single output to explain."""
    does = {"generation": "writes texts", "detection": "finds boxes"}.get(task or "")
    if experiment.serving.explain and does:
        raise ExperimentError(
            f"serving.explain: true is for a classification or a regression, and this model {does}; leave it out"
        )


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


def _part_checks(experiment: Experiment) -> Iterator[Callable[[], object]]:
    """The checks that each choice of a search must pass too."""
    model, training, task = experiment.model.options, experiment.training, _task(experiment)
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


def _check_space(experiment: Experiment) -> None:
    """Check the experiment that each choice, and each end of a range, makes."""
    if experiment.search is None:
        return
    document, space = experiment.model_dump(mode="json"), space_of(experiment.search.space)
    require_used(space, experiment.search.method)
    _check_trials(experiment.search, space)
    lost = list(losses(space, experiment.model_dump(mode="json", exclude_unset=True)))
    if lost:
        raise ExperimentError(NEXT.join(lost))
    for key in space:
        _run_checks(
            partial(_check_choice, document, space[key], key, values) for values in combinations(space, key)
        )


def _check_trials(search: Search, space: SearchSpace) -> None:
    """Refuse more trials than a grid has."""
    size = grid_size(space) if search.method == "grid" else None
    if size is not None and search.trials is not None and search.trials > size:
        raise ExperimentError(
            f"search.trials: {search.trials}, and the grid has {size}; expected at most that many; lower it, or leave "
            "it out for the whole grid"
        )


def _check_choice(document: dict[str, Any], entry: Entry, key: str, values: dict[str, Any]) -> None:
    try:
        chosen = with_values(document, values)
    except ValueError as error:
        raise ExperimentError(f"search.space.{key}: {error}") from error
    where = f"search.space.{key}"
    try:
        _run_checks(_part_checks(validate(chosen, where)))
    except UnknownOptionError as error:
        raise OptionsError(f"{where}: {_absent(error, key, values)}") from error
    except (ExperimentError, ModelsError) as error:
        if WHOLE not in str(error) or not isinstance(entry, Between) or entry.whole:
            raise
        raise ExperimentError(f"{error}: low, high and step of {key} are not all whole numbers") from error


def _absent(error: UnknownOptionError, key: str, values: Mapping[str, Any]) -> str:
    """A message where an option is searched of something that has no such option."""
    beside = {one: value for one, value in values.items() if one != key}
    if not beside or key.rpartition(".")[2] != error.option:
        return str(error)
    there = " and ".join(f"{one} is {value!r}" for one, value in beside.items())
    return (
        f"{error.owner} has no option {error.option!r}, and {there} in some trials; expected that it is searched only "
        f"where there is one; add `when: {{{next(iter(beside))}: …}}` with the values that have it"
    )
