"""The metrics of candidate and champion on the same rows, and the intervals of their differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import top_k
from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.decoding.settings import DEFAULT_DETECTION, DecodingSettings, Detection
from tidegate.models.evaluation.box_metrics import evaluate_answers
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.evaluation.paired_difference import (
    GROUPS,
    UNKNOWN,
    Interval,
    jackknife,
    token_interval,
)
from tidegate.models.evaluation.targets import evaluate_target, interval_by_groups, interval_of
from tidegate.models.evaluation.text_metrics import (
    character_perplexity,
    character_sums,
    evaluate_rows,
    evaluate_tokens,
    token_sums,
)
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.anomalies import known_anomalies
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.inference.predictor import Predictor

OwnScores = Callable[[NDArray[Any], NDArray[Any]], Evaluation]


@dataclass(frozen=True)
class PairedScores:
    """Metrics of both models, `test_…`, and what gives the interval of a metric's difference.

    Attributes:
        interval: from a metric without `test_` and a confidence; of the candidate's value minus the champion's.
    """

    candidate: Evaluation
    champion: Evaluation
    interval: Callable[[str, float], Interval]


def paired_scores(
    schema: Schema,
    transforms: Transforms,
    champion: Predictor,
    columns: Columns,
    raw: NDArray[Any],
    settings: DecodingSettings | None,
    metrics: Sequence[str] = (),
    own: OwnScores | None = None,
) -> PairedScores:
    """Score both models on the same rows.

    Args:
        schema, transforms: the candidate's.
        champion: loaded from its bundle.
        columns: the rows.
        raw: the candidate's reference outputs for them, see `step_types.train.Trained`.
        settings: how the candidate's texts or boxes are chosen.
        metrics: that are asked for; top_K_accuracy is computed for these only.
        own: the user's metrics, from a model's raw outputs and the encoded target.

    Raises:
        ServingError, KeyError: the champion cannot predict these rows.
    """
    if champion.contract.decoding is not None:
        ours, theirs, between = _texts(schema, transforms, champion, columns, raw)
    elif champion.contract.detection is not None:
        ours, theirs, between = _boxes(transforms, champion, columns, raw, settings)
    else:
        ours, theirs, between = _plain(schema, transforms, champion, columns, raw, metrics, own)
    return PairedScores(ours.prefixed("test_"), theirs.prefixed("test_"), between)


Scored = tuple[Evaluation, Evaluation, Callable[[str, float], Interval]]


def _plain(
    schema: Schema,
    transforms: Transforms,
    champion: Predictor,
    columns: Columns,
    raw: NDArray[Any],
    metrics: Sequence[str],
    own: OwnScores | None,
) -> Scored:
    target = schema.target
    names = [field.name for field in champion.contract.inputs]
    theirs = champion.predict_columns({name: columns[name] for name in names})
    anomalies = target.task == "anomaly"
    truth = known_anomalies(target, columns) if anomalies else transforms.target(schema, columns)
    ours = as_answers(target, raw)

    other = target.model_copy(update={"thresholds": champion.contract.target_.thresholds})
    both_targets = zip((target, other), (ours, theirs), strict=True)
    mine = [evaluate_target(whose, truth, one, top_k(metrics)) for whose, one in both_targets]
    raws = raw, _like(raw, theirs)
    users = [own(one, truth) if own else Evaluation() for one in raws]

    def between(metric: str, confidence: float) -> Interval:
        if own is None or metric not in users[0].values:
            return interval_of(target, metric, truth, (ours, theirs), confidence, other)

        def both(kept: NDArray[np.bool_]) -> tuple[float, float]:
            first, second = (own(one[kept], truth[kept]).values.get(metric, np.nan) for one in raws)
            return first, second

        return interval_by_groups(len(truth), both, confidence)

    return mine[0] | users[0], mine[1] | users[1], between


def _like(raw: NDArray[Any], answers: NDArray[Any]) -> NDArray[Any]:
    """A model's answers in the form of another's raw outputs: of two classes these may be one sigmoid."""
    if answers.size == raw.size:
        return answers.reshape(raw.shape)
    return answers.reshape(*raw.shape[:-1], -1, 2)[..., 1].reshape(raw.shape)


def _texts(
    schema: Schema, transforms: Transforms, champion: Predictor, columns: Columns, raw: NDArray[Any]
) -> Scored:
    """Each model's loss is per token of its own vocabulary. The error rate of the candidate is not known row by row."""
    contract, own = champion.contract, champion.transforms
    assert contract.decoding is not None and own.text_target is not None
    labels, answered = own.text_target.encode(columns), champion.token_probabilities(columns)
    truth = transforms.target(schema, columns)
    sums = token_sums(truth, raw), token_sums(labels, answered)
    assert transforms.text_target is not None
    mine = character_perplexity(transforms.text_target, truth, raw)
    spelled = (
        character_sums(transforms.text_target, truth, raw),
        character_sums(own.text_target, labels, answered),
    )

    def between(metric: str, confidence: float) -> Interval:
        if metric == "perplexity_per_character":
            return token_interval("perplexity", spelled, confidence)
        return UNKNOWN if metric == "error_rate" else token_interval(metric, sums, confidence)

    theirs = evaluate_rows(champion.run, contract.schema_, own, columns, contract.decoding)
    return evaluate_tokens(truth, raw) | mine, theirs, between


def _boxes(
    transforms: Transforms,
    champion: Predictor,
    columns: Columns,
    raw: NDArray[Any],
    settings: DecodingSettings | None,
) -> Scored:
    """The champion with the detection settings of its endpoint."""
    own, other, detection = transforms.box_target, champion.transforms.box_target, champion.contract.detection
    assert own is not None and other is not None and detection is not None
    mine = settings if isinstance(settings, Detection) else DEFAULT_DETECTION
    answered = champion.raw_output(columns)

    def both(rows: NDArray[np.int64]) -> tuple[Evaluation, Evaluation]:
        some = take(columns, rows)
        return (
            evaluate_answers(raw[rows], own, some, mine),
            evaluate_answers(answered[rows], other, some, detection),
        )

    rows = np.arange(rows_of(columns))
    ours, theirs = both(rows)

    def between(metric: str, confidence: float) -> Interval:
        count = min(GROUPS, len(rows))
        without = [both(rows[rows % count != group]) for group in range(count)]
        if count < 2 or not all(metric in one.values for pair in without for one in pair):
            return UNKNOWN
        differences = [one.values[metric] - other.values[metric] for one, other in without]
        return jackknife(differences, ours.values[metric] - theirs.values[metric], confidence)

    return ours, theirs, between
