"""What the median rule allows a trial, by the trials before it."""

from tidegate.models.config.own_metrics import higher_is_better
from tidegate.models.tuning.search import medians
from tidegate.pipelines.step_types.train import TrainInputs


def medians_of(inputs: TrainInputs) -> list[float | None] | None:
    """The median rule's limits by epoch, once enough trials have run to the end; else None."""
    pruning = inputs.search.pruning if inputs.search else None
    finished = [trial for trial in inputs.history if not trial.pruned]
    if pruning is None or len(finished) < pruning.minimum_trials:
        return None
    higher = higher_is_better(finished[0].monitor, inputs.training["metrics"])
    return medians([trial.curve for trial in finished], pruning.warmup_epochs, higher)
