"""What a trial is given: the values drawn for it, and the limits below which it is stopped.

Both depend on the results of a fixed number of earlier trials, which the plan states (`Draw.seen`), and on nothing
else: not on which trial ended first, and not on what the trials after them did.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from threading import Thread
from typing import Any

from tidegate.models.config.own_metrics import higher_is_better
from tidegate.models.tuning.search import Suggester
from tidegate.models.tuning.stopping import Curve, Limits, halving_limits, medians
from tidegate.pipelines.experiment.search import Pruning, Search
from tidegate.pipelines.step_types.train import Draw, TrainInputs

Outputs = Mapping[str, Mapping[str, Any]]


class Suggestions:
    """The values and limits of a search's trials.

    Args:
        trials: ids of the trials' steps, in the order of their numbers.
    """

    def __init__(self, trials: Iterable[str]) -> None:
        self._trials = tuple(trials)
        self._suggester: Suggester | None = None
        self._higher: bool | None = None

    def import_early(self, search: Search | None) -> None:
        """Import what draws the values, in the background: the first trial then waits for none of it."""
        if search is not None and search.method != "grid":
            Thread(target=import_module, args=("optuna",), daemon=True).start()

    def into(self, inputs: TrainInputs, outputs: Outputs) -> TrainInputs:
        """Return a trial's inputs with its values and limits; of a run without a search as they are.

        Args:
            inputs: of the plan.
            outputs: by step id, of at least the earlier trials that it may know; a trial that failed has none.
        """
        draw = inputs.search
        if draw is None:
            return inputs
        known = [outputs[trial] for trial in self._trials[: draw.seen] if trial in outputs]
        higher = bool(known) and higher_is_better(known[0]["monitor"], inputs.training["metrics"])
        params = self._suggester_of(draw, higher).suggest(draw.index, known)
        epochs = params.get("training.epochs", inputs.training["epochs"])
        limits = limits_of(draw.pruning, known, epochs, higher) if draw.pruning else None
        return inputs.model_copy(
            update={"params": params, "limits": limits, "stated": _stated(inputs, params)}
        )

    def _suggester_of(self, draw: Draw, higher: bool) -> Suggester:
        """The one that is kept; a new one when the first result tells the direction."""
        if self._suggester is None or higher != self._higher:
            direction = "maximize" if higher else "minimize"
            self._suggester = Suggester({**draw.model_dump(), "direction": direction})
            self._higher = higher
        return self._suggester


def _stated(inputs: TrainInputs, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of training that are stated, with those that the trial's values state."""
    if "family" in inputs.model:
        return inputs.stated
    searched = {key.split(".")[1] for key in params if key.startswith("training.")}
    return tuple(sorted({*inputs.stated, *searched}))


def limits_of(
    pruning: Pruning, known: Sequence[Mapping[str, Any]], epochs: int, higher: bool
) -> Limits | None:
    """Return a trial's limits by epoch; None where its rule has none yet.

    Args:
        pruning: the rule.
        known: outputs of the earlier trials that count.
        epochs: of the trial.
        higher: whether a higher monitored value is better.
    """
    if pruning.rule == "asha":
        curves = [Curve(trial["curve"], trial["pruned"]) for trial in known]
        return halving_limits(curves, pruning.rungs(epochs), pruning.factor, higher)
    finished = [trial["curve"] for trial in known if not trial["pruned"]]
    return medians(finished, pruning.warmup, higher) if len(finished) >= pruning.finished_trials else None
