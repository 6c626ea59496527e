"""select: rank the trials by the gate's metric, and compare the winner with the gate and the champion."""

import numpy as np

from tidegate.models.config.metrics import top_k
from tidegate.models.data.columns import Columns, load_columns
from tidegate.models.evaluation.box_metrics import evaluate_answers
from tidegate.models.evaluation.guessing import no_better_class, no_better_number
from tidegate.models.evaluation.metrics import evaluate, to_predictions
from tidegate.models.evaluation.text_metrics import evaluate_rows
from tidegate.models.preprocessing.transforms import encode_target
from tidegate.pipelines.experiment.gate import check_metric, criteria_for, rank, reasons_against
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.step_types.select import Selected, SelectInputs
from tidegate.pipelines.step_types.train import Trained
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.serving.errors import ServingError
from tidegate.serving.inference.predictor import Predictor


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
    order = rank([trial.metrics for trial in trials], metric)
    winner = trials[order[0]]
    champion, problem = _champion_metrics(inputs, context)
    refused = (
        [] if inputs.gate == "none" else reasons_against(criteria, winner.metrics, champion, winner.undefined)
    )
    if not inputs.gate and inputs.champion is None and not refused:
        refused += _no_better_than_guessing(inputs, context, winner)
    if problem and any(criterion.improve_on_champion is not None for criterion in criteria):
        refused.append(problem)
    for index in order:
        known = trials[index]
        value = (
            f"{known.metrics[metric]:.6g}"
            if metric in known.metrics
            else f"undefined: {known.undefined[metric]}"
        )
        print(f"{known.id}  {metric} {value}  {known.params or ''}")
    return Selected(
        winner=winner,
        trial=winner.id,
        ranking=[trials[index].id for index in order],
        metric=metric,
        metrics=winner.metrics,
        undefined=winner.undefined,
        champion=champion,
        refused=refused,
    )


def _no_better_than_guessing(inputs: SelectInputs, context: StepContext, winner: Trained) -> list[str]:
    """Why a first release without a gate is refused; none for texts and boxes, which have no natural guess."""
    schema, _ = read_contract(inputs.prepared, context.store)
    target = schema.target
    if target.task not in ("classification", "regression"):
        return []
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    raw = np.load(context.store.fetch(winner.reference), allow_pickle=False)
    truth, predictions = encode_target(schema, columns), to_predictions(raw, winner.activation)
    if target.task == "regression":
        known = inputs.prepared.summary["target"]
        why = no_better_number(truth, predictions, [known[name]["mean"] for name in target.names])
    else:
        counts = inputs.prepared.summary["classes"]
        why = no_better_class(truth, predictions, {name: rows["train"] for name, rows in counts.items()})
    return (
        [f"no better than guessing: {why}; improve the data or the model, or set gate: none"] if why else []
    )


def _champion_metrics(inputs: SelectInputs, context: StepContext) -> tuple[dict[str, float] | None, str]:
    """The champion's metrics on this run's test rows, computed with its own bundle, or why there are none."""
    if inputs.champion is None:
        return None, ""
    schema, _ = read_contract(inputs.prepared, context.store)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    try:
        predictor = Predictor.of(fetch_bundle(context.home, inputs.champion))
        theirs = predictor.contract
        if (theirs.task, tuple(theirs.classes)) != (schema.target.task, tuple(schema.target.classes)):
            return None, _incomparable(inputs, "it predicts something else")
        ours = {field.name: field for field in schema.inputs}
        for field in theirs.inputs:
            if (field.kind, tuple(field.shape)) != (ours[field.name].kind, tuple(ours[field.name].shape)):
                shape = tuple(field.shape) or "one value"
                return None, _incomparable(inputs, f'its input "{field.name}" is {field.kind}, {shape}')
        if theirs.decoding is not None:
            return _champion_of_texts(predictor, columns), ""
        if theirs.detection is not None:
            return _champion_of_boxes(predictor, columns), ""
        names = [field.name for field in theirs.inputs]
        predictions = predictor.predict_columns({name: columns[name] for name in names})
    except KeyError as error:
        return None, _incomparable(inputs, f"it needs the input {error}, which this data does not have")
    except ServingError as error:
        return None, _incomparable(inputs, str(error))
    target = schema.target
    truth = encode_target(schema, columns)
    top = top_k(criterion.metric for criterion in criteria_for(inputs.gate, target.task))
    values = evaluate(target.task, truth, predictions, target.classes, target.names, top)
    return values.prefixed("test_").values, ""


def _champion_of_texts(predictor: Predictor, columns: Columns) -> dict[str, float]:
    """The champion's metrics, with the decoding settings of its endpoint."""
    contract, transforms = predictor.contract, predictor.transforms
    assert contract.decoding is not None
    values = evaluate_rows(predictor.run, contract.schema_, transforms, columns, contract.decoding)
    return values.prefixed("test_").values


def _champion_of_boxes(predictor: Predictor, columns: Columns) -> dict[str, float]:
    """The champion's metrics, with the detection settings of its endpoint."""
    boxes, detection = predictor.transforms.box_target, predictor.contract.detection
    assert boxes is not None and detection is not None
    values = evaluate_answers(predictor.raw_output(columns), boxes, columns, detection)
    return values.prefixed("test_").values


def _incomparable(inputs: SelectInputs, why: str) -> str:
    return (
        f'the champion of "{inputs.endpoint}" cannot be scored on these rows: {why}; '
        "set gate.improve_on_champion to null to release without comparing"
    )
