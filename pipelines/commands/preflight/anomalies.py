"""What data.anomaly does not go with in the other parts of the experiment."""

from tidegate.models.config.own_metrics import own_metrics
from tidegate.models.evaluation.evaluation import OF_KNOWN
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.gate import criteria
from tidegate.pipelines.experiment.ranking import plain_name
from tidegate.pipelines.experiment.spec import Experiment


def check_anomaly(experiment: Experiment) -> None:
    """Refuse metrics of one's own, and a gate that would have no value after the training.

    Raises:
        ExperimentError: names the key.
    """
    anomaly = experiment.data.anomaly
    if anomaly is None:
        return
    own = own_metrics(experiment.training.metrics)
    if own:
        raise ExperimentError(
            f"training.metrics: {', '.join(own)} of one's own, and data.anomaly is stated, whose answer is a score; "
            "expected rmse or mae; leave it out"
        )
    for criterion in criteria(experiment.gate):
        metric = criterion.metric
        if plain_name(metric) not in OF_KNOWN:
            continue
        if anomaly.label is None:
            raise ExperimentError(
                f"gate.metric: {metric} is of known anomalies, and data.anomaly.label is not stated; expected a column "
                "of 0 and 1; state it, or gate test_alarms or test_loss"
            )
        if metric.startswith("validation_"):
            raise ExperimentError(
                f"gate.metric: {metric} is of known anomalies, which are left out of the validation rows; gate "
                f"{metric.replace('validation_', 'test_', 1)}"
            )
