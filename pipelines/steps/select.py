"""select: rank the trials by the gate's metric, compare the winner with the gate and the champion, and export it."""

from collections.abc import Iterator, Sequence

import numpy as np

from tidegate.models.data.columns import load_columns
from tidegate.models.evaluation.guessing import guessed
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.pipelines.experiment.gate import check_metric, criteria_for, reasons_against
from tidegate.pipelines.experiment.ranking import EPSILON, rank, ranking_metric
from tidegate.pipelines.step_types.select import Selected, SelectInputs
from tidegate.pipelines.step_types.train import Trained
from tidegate.pipelines.steps.comparison.champion import compare
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.pipelines.steps.winner import exported


def run(inputs: SelectInputs, context: StepContext) -> Selected:
    """Choose the winner and apply the gate.

    Raises:
        ExperimentError: the gate names a metric that the run does not have.
    """
    schema, _ = read_contract(inputs.prepared, context.store)
    criteria = criteria_for(inputs.gate, schema.target.task)
    trials, metric = inputs.trials, criteria[0].metric
    for criterion in criteria:
        check_metric(criterion.metric, trials[0].metrics, trials[0].undefined)
    measured = [trial.metrics for trial in trials]
    ranked_by = ranking_metric(metric, measured)
    order = rank(measured, ranked_by, inputs.own_lower)
    winner = trials[order[0]]
    comparison = compare(inputs, winner, criteria, context)
    refused = (
        []
        if inputs.gate == "none"
        else reasons_against(criteria, winner.metrics, comparison.compared, winner.undefined)
    )
    if not inputs.gate and inputs.champion is None and not refused:
        refused += _no_better_than_guessing(inputs, context, winner)
    if comparison.problem and any(criterion.improve_on_champion is not None for criterion in criteria):
        refused.append(comparison.problem)
    winner = winner if refused else exported(inputs, winner, context)
    compared = tuple(map(str, comparison.compared.values()))
    warnings = (
        *comparison.warnings,
        *_ranked_last(trials, ranked_by),
        *_same_rows(metric, ranked_by, len(trials)),
    )
    for sentence in (*compared, *warnings):
        print(sentence)
    for index in order:
        known = trials[index]
        value = (
            f"{known.metrics[metric]:.6g}"
            if metric in known.metrics
            else f"undefined: {known.undefined[metric]}"
        )
        reached = f"{known.metrics[ranked_by]:.6g}" if ranked_by in known.metrics else "undefined"
        chosen_by = f"  {ranked_by} {reached}" if ranked_by != metric else ""
        print(f"{known.id}  {metric} {value}{chosen_by}  {known.params or ''}")
    return Selected(
        winner=winner,
        trial=winner.id,
        ranking=[trials[index].id for index in order],
        metric=metric,
        metrics=winner.metrics,
        undefined=winner.undefined,
        champion=comparison.champion,
        refused=refused,
        ranked_by=ranked_by,
        warnings=warnings,
        compared=compared,
    )


def _same_rows(metric: str, ranked_by: str, trials: int) -> tuple[str, ...]:
    """What to say where the rows of the figure chose the winner."""
    if trials == 1 or ranked_by != metric or metric == EPSILON:
        return ()
    return (
        f"the same rows chose the winner of {trials} trials and give its {metric}, which is therefore too good by some "
        "chance; set data.split.validation, and a test_ metric in the gate, so that validation rows choose",
    )


def _ranked_last(trials: Sequence[Trained], metric: str) -> Iterator[str]:
    """Which trials of several have no value to rank by."""
    without = [trial.id for trial in trials if metric not in trial.metrics]
    if without and len(trials) > 1:
        reason = next(trial.undefined.get(metric, "") for trial in trials if metric not in trial.metrics)
        yield f"{', '.join(without)}: {metric} is undefined ({reason}), so they are ranked last"


def _no_better_than_guessing(inputs: SelectInputs, context: StepContext, winner: Trained) -> list[str]:
    """Why a first release without a gate is refused; none where there is no natural guess, as of texts."""
    schema, _ = read_contract(inputs.prepared, context.store)
    if schema.target.task in ("reconstruction", "anomaly", "generation", "detection"):
        return []
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    raw = np.load(context.store.fetch(winner.reference), allow_pickle=False)
    truth, answers = encode_target(schema, columns), as_answers(schema.target, raw)
    worse = guessed(schema.target, truth, answers, inputs.prepared.summary)
    outputs = len(schema.target.outputs or (schema.target,))
    if len(worse) < outputs:
        for name, why in worse.items():
            print(f"warning: output {name!r} is no better than guessing: {why}")
        return []
    told = "; ".join(worse.values() if outputs == 1 else (f"{name}: {why}" for name, why in worse.items()))
    return [f"no better than guessing: {told}; improve the data or the model, or set gate: none"]
