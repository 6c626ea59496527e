"""The comparison of a candidate with its champion: on the same rows, which neither of them learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.own_metrics import own_metrics
from tidegate.models.data.columns import load_columns, rows_of, take
from tidegate.models.distributed.devices import configure_backend
from tidegate.models.networks.keras_import import import_keras
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.experiment.gate import Compared, Criterion
from tidegate.pipelines.experiment.ranking import lower_is_better
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.step_types.select import SelectInputs
from tidegate.pipelines.step_types.train import Trained
from tidegate.pipelines.steps.comparison.learned_rows import FEWEST, strangers, too_few, unlearned
from tidegate.pipelines.steps.comparison.paired_scores import OwnScores, PairedScores, paired_scores
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract, with_thresholds
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.errors import ServingError
from tidegate.serving.inference.predictor import Predictor


@dataclass(frozen=True)
class Comparison:
    """What candidate and champion reach on the same rows.

    Attributes:
        champion: its metrics on these rows; None if there is no champion, or it cannot be compared.
        compared: the criteria's metrics of both.
        problem: why they cannot be compared, or "".
        warnings: what could not be checked.
    """

    champion: dict[str, float] | None = None
    compared: dict[str, Compared] = field(default_factory=dict)
    problem: str = ""
    warnings: tuple[str, ...] = ()


def compare(
    inputs: SelectInputs, winner: Trained, criteria: Sequence[Criterion], context: StepContext
) -> Comparison:
    """Compare the winner with the champion by the criteria's metrics."""
    if inputs.champion is None:
        return Comparison()
    try:
        return _compared(inputs, winner, criteria, context)
    except (ServingError, _OtherContractError) as error:
        why = str(error)
    return Comparison(
        problem=f'the champion of "{inputs.endpoint}" cannot be scored on these rows: {why}; set '
        "gate.improve_on_champion to null to release without comparing"
    )


class _OtherContractError(Exception):
    """The champion answers another question, or from other inputs."""


def _compared(
    inputs: SelectInputs, winner: Trained, criteria: Sequence[Criterion], context: StepContext
) -> Comparison:
    schema, transforms = read_contract(inputs.prepared, context.store)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    bundle = open_bundle(fetch_bundle(context.home, inputs.champion or ""))
    predictor = Predictor.of(bundle)
    _check_contract(predictor, schema)
    theirs = predictor.contract.schema_
    unseen, warnings = _unseen(inputs, bundle.manifest.run, theirs, rows_of(columns), context)
    chosen = np.flatnonzero(unseen)
    if too_few(len(chosen), len(unseen)):
        return Comparison(problem=_too_few(inputs, len(chosen), len(unseen)))
    schema = with_thresholds(schema, winner)
    raw = np.load(context.store.fetch(winner.reference), allow_pickle=False)[chosen]
    rows, asked = take(columns, chosen), [one.metric for one in criteria]
    own = _own_scores(inputs, winner, criteria, schema.target)
    scores = paired_scores(schema, transforms, predictor, rows, raw, inputs.decoding, asked, own)
    known = {**(winner.metrics if unseen.all() else {}), **scores.candidate.values}
    compared: dict[str, Compared] = {}
    for one in criteria:
        if (
            one.improve_on_champion is None
            or not one.metric.startswith("test_")
            or one.metric in winner.undefined
        ):
            continue
        problem = _unknown(one.metric, known, scores, len(chosen))
        if problem:
            return Comparison(scores.champion.values, problem=problem, warnings=warnings)
        found = _metric(one, known[one.metric], scores, len(chosen), inputs.own_lower)
        compared[one.metric] = found
        if own is not None and one.confidence is not None and found.confidence is None:
            warnings += (_without_interval(found),)
    return Comparison(scores.champion.values, compared, warnings=warnings)


def _own_scores(
    inputs: SelectInputs, winner: Trained, criteria: Sequence[Criterion], target: Target
) -> OwnScores | None:
    """What computes the user's metrics that candidate and champion are compared by; None where there are none."""
    training = inputs.own_scored
    compared = {one.metric.removeprefix("test_") for one in criteria if one.improve_on_champion is not None}
    asked = [one for one in training.get("metrics", ()) if compared & set(own_metrics([one]))]
    if not asked:
        return None
    configure_backend(training["backend"])
    import_keras(own_code=True)
    from tidegate.models.training.own.own_scores import own_scores

    loss = winner.params.get("training.loss", training["loss"])
    return partial(own_scores, {**training, "loss": loss, "metrics": asked}, target)


def _without_interval(found: Compared) -> str:
    return (
        f"how far chance moves {found.metric} is not known, because it has no value without some of the {found.rows:,} "
        "rows; the numbers of candidate and champion were compared as they are"
    )


def _unknown(metric: str, known: Mapping[str, float], scores: PairedScores, rows: int) -> str:
    """Why one of the two has no value on these rows, or ""."""
    for whose, values, reasons in (
        ("candidate", known, scores.candidate.undefined),
        ("champion", scores.champion.values, scores.champion.undefined),
    ):
        if metric not in values:
            why = reasons.get(metric, "it is measured on all test rows together")
            return (
                f"{metric} of the {whose} is not known on the {rows:,} rows that neither model learned from: {why}; "
                "expected a number; name another metric, add new rows, or set gate.improve_on_champion to null"
            )
    return ""


def _metric(
    criterion: Criterion, candidate: float, scores: PairedScores, rows: int, own_lower: Sequence[str]
) -> Compared:
    metric, confidence = criterion.metric, criterion.confidence
    values = candidate, scores.champion.values[metric]
    compared = Compared(metric, *values, rows, own_lower=own_lower)
    if confidence is None:
        return compared
    low, high = scores.interval(metric.removeprefix("test_"), confidence)
    if not (np.isfinite(low) and np.isfinite(high)):
        return compared
    if lower_is_better(metric, own_lower):
        low, high = -high, -low
    return replace(compared, confidence=confidence, low=low, high=high)


def _check_contract(predictor: Predictor, schema: Schema) -> None:
    theirs = predictor.contract
    if not theirs.answers_like(schema.target):
        raise _OtherContractError("it predicts something else")
    ours = {field.name: field for field in schema.inputs}
    for entry in theirs.inputs:
        if entry.name not in ours:
            raise _OtherContractError(f"it needs the input {entry.name!r}, which this data does not have")
        if (entry.kind, tuple(entry.shape)) != (ours[entry.name].kind, tuple(ours[entry.name].shape)):
            shape = tuple(entry.shape) or "one value"
            raise _OtherContractError(f'its input "{entry.name}" is {entry.kind}, {shape}')


def _unseen(
    inputs: SelectInputs, run: str, theirs: Schema, rows: int, context: StepContext
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which test rows neither model learned from; all, with a warning, if that is not known any more.

    Args:
        inputs: of the step.
        run: which made the champion.
        theirs: its schema.
        rows: the number of test rows.
        context: of the step.
    """
    unseen, warnings = np.ones(rows, np.bool_), []
    for whose, known, schema in (("champion", run, theirs), ("candidate", inputs.start, None)):
        if known is None:
            continue
        try:
            unseen &= unlearned(context, inputs.prepared, known, schema)
            warnings += [] if schema is None else _strange(inputs, known, schema, context)
        except PipelineError as error:
            warnings.append(
                f'it cannot be checked which rows the {whose} of "{inputs.endpoint}" learned from, because {error}; '
                f"candidate and champion were compared as if it knew none of the {rows:,} test rows"
            )
    return unseen, tuple(warnings)


def _strange(inputs: SelectInputs, run: str, theirs: Schema, context: StepContext) -> list[str]:
    """What to say where the champion's rows are not among as many of this run."""
    found = strangers(context, inputs.prepared, run, theirs)
    if found is None:
        return []
    looked, ours, other = found
    return [
        f'the rows of the champion of "{inputs.endpoint}" were not found among this run\'s: it learned from {other:,} '
        f"rows, this run from {ours:,}, and of {looked:,} of these hardly any is among those; if it is the same data "
        "written in another way, such as rounded or with other units, the comparison may be on rows that the champion "
        "learned from: write the data as it was, or set gate.improve_on_champion to null and judge both by new rows; "
        "if all rows are new, all is well"
    ]


def _too_few(inputs: SelectInputs, found: int, rows: int) -> str:
    return (
        f'the champion of "{inputs.endpoint}" cannot be compared: of {rows:,} test rows it learned from all but '
        f"{found}; expected at least {FEWEST} that neither model learned from; add new rows, take data.split and the "
        "inputs from the champion's experiment, or set gate.improve_on_champion to null to release without comparing"
    )
