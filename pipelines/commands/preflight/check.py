"""All checks of an experiment before any step runs."""

from collections.abc import Callable, Iterator
from functools import partial

from tidegate.models.config.metrics import top_k
from tidegate.models.config.own_metrics import metric_names, own_metrics
from tidegate.models.distributed.devices import require_backend
from tidegate.models.evaluation.evaluation import iou_names
from tidegate.pipelines.commands.model_file import check_model_file
from tidegate.pipelines.commands.preflight.anomalies import check_anomaly
from tidegate.pipelines.commands.preflight.masks import class_names
from tidegate.pipelines.commands.preflight.parts import part_checks, stated_task
from tidegate.pipelines.commands.preflight.recorded import check_record
from tidegate.pipelines.commands.preflight.running import run_checks
from tidegate.pipelines.commands.preflight.searched import check_space
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.code import references_in
from tidegate.pipelines.experiment.gate import OF_CLASS, Criterion, check_limits, check_name, criteria
from tidegate.pipelines.experiment.ranking import EPSILON, plain_name
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.planning.data_source import check_source
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import load


def check(experiment: Experiment, home: Home) -> None:
    """Refuse an experiment that a step would refuse later, after minutes or hours of work.

    Args:
        experiment: validated, its paths absolute.
        home: where its endpoint may live already.

    Raises:
        ExperimentError, ModelsError: one line per mistake, which names the key, what was received and what was
            expected.
    """
    run_checks(_checks(experiment, home))
    hosting(home).check(load(home.store, experiment.endpoint), experiment.serving)


def _checks(experiment: Experiment, home: Home) -> Iterator[Callable[[], object]]:
    task = stated_task(experiment)
    yield partial(check_source, experiment.data, home.endpoint_of)
    yield partial(check_model_file, experiment.model.file, builds=experiment.model.trained is None)
    yield partial(_check_own_code, experiment, home)
    yield partial(_check_notify, experiment, home)
    yield from part_checks(experiment)
    if home.target is not None:
        yield partial(home.target.check_node_selector, experiment.resources.node_selector)
    else:  # a cluster's images bring their own
        yield partial(require_backend, experiment.training.backend)
    yield partial(check_space, experiment)
    for criterion in criteria(experiment.gate):
        yield partial(check_name, criterion.metric, task, tuple(own_metrics(experiment.training.metrics)))
        yield partial(check_limits, criterion.metric, criterion.minimum, criterion.maximum)
        yield partial(_check_criterion, criterion, experiment)
    yield partial(check_anomaly, experiment)
    yield partial(check_record, experiment)
    yield partial(_check_explains, experiment, task)


def _check_own_code(experiment: Experiment, home: Home) -> None:
    if experiment.code.secrets or references_in(experiment.model_dump(mode="json")):
        from tidegate.pipelines.commands.own_code import check_own_code  # slow, and for most needless

        check_own_code(experiment, home)


def _check_notify(experiment: Experiment, home: Home) -> None:
    if experiment.notify:
        from tidegate.pipelines.driver.notifications import check_notify  # as above

        check_notify(experiment, home)


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
    named = class_names(experiment)
    if (
        named
        and criterion.metric.startswith(OF_CLASS)
        and plain_name(criterion.metric) not in iou_names(named)
    ):
        raise ExperimentError(
            f"gate.metric: {criterion.metric} is of a class that data.target does not name; expected one of: "
            f"{', '.join(f'test_{name}' for name in iou_names(named))}; correct it"
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
    """Refuse to explain written texts, found boxes, scores of anomalies and pixels."""
    known = {
        "generation": "writes texts",
        "detection": "finds boxes",
        "anomaly": "scores anomalies",
        "segmentation": "answers a class at each place",
    }
    does = known.get(task or "")
    if experiment.serving.explain and does:
        raise ExperimentError(
            f"serving.explain: true is for a classification or a regression, and this model {does}; leave it out"
        )
