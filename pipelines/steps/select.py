"""select: rank the trials by the gate's metric, and compare the winner with the gate and the champion."""

from tidegate.pipelines.experiment.gate import check_metric, criteria_for, rank, reasons_against
from tidegate.pipelines.step_types.select import Selected, SelectInputs
from tidegate.pipelines.steps.champion import compare
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract


def run(inputs: SelectInputs, context: StepContext) -> Selected:
    """Choose the winner and apply the gate.

    Raises:
        ExperimentError: the gate names a metric that the run does not have.
    """
    schema, _ = read_contract(inputs.prepared, context.store)
    criteria = criteria_for(inputs.gate, schema.target.task)
    trials, metric = inputs.trials, criteria[0].metric
    for criterion in criteria:
        check_metric(criterion.metric, trials[0].metrics)
    order = rank([trial.metrics for trial in trials], metric)
    winner = trials[order[0]]
    champion, problem = _champion_metrics(inputs, context)
    comparison = compare(inputs, winner, criteria, context)
    refused = reasons_against(criteria, winner.metrics, comparison.compared)
    if comparison.problem and any(criterion.improve_on_champion is not None for criterion in criteria):
        refused.append(comparison.problem)
    compared = tuple(map(str, comparison.compared.values()))
    for sentence in (*compared, *comparison.warnings):
        print(sentence)
    for index in order:
        known = trials[index]
        print(f"{known.id}  {metric} {known.metrics[metric]:.6g}  {known.params or ''}")
    return Selected(
        winner=winner,
        trial=winner.id,
        ranking=[trials[index].id for index in order],
        metric=metric,
        metrics=winner.metrics,
        champion=comparison.champion,
        refused=refused,
        warnings=comparison.warnings,
        compared=compared,
    )
