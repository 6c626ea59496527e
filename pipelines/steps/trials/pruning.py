"""Where the search's rule stopped a trial."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tidegate.pipelines.step_types.train import TrainInputs

if TYPE_CHECKING:
    from tidegate.models.training.fit import History


def pruned_place(inputs: TrainInputs, training: Mapping[str, Any], history: "History") -> str:
    """The place in words, see `Pruning.place`; "" if the trial was not stopped by it.

    Args:
        inputs: of the train step.
        training: with the trial's values.
        history: of its training.
    """
    rule = inputs.search.pruning if inputs.search and history.stopped == "pruned" else None
    return rule.place(training["epochs"], len(history.epochs)) if rule else ""
