"""Inputs and outputs of `select`."""

from typing import Any

from pydantic import Field

from tidegate.models.decoding.settings import DecodingSettings
from tidegate.pipelines.experiment.gate import Gate
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained


class SelectInputs(CodedInputs):
    """The trials that succeeded, the gate, the digest of the champion's bundle, the decoding settings, the run that
    training began with, the metrics of the user's of which lower values are better, and what computes them: `metrics`,
    `loss`, `label_smoothing` and `backend` of the training; {} where the user has none.
    """

    run: str
    endpoint: str
    gate: Gate
    trials: list[Later[Trained]]
    champion: str | None
    prepared: Later[Prepared]
    decoding: DecodingSettings | None = None
    start: str | None = None
    own_lower: tuple[str, ...] = ()
    own_scored: dict[str, Any] = Field(default_factory=dict)


class Selected(StepPart):
    """The winner and the gate's decision.

    Attributes:
        winner: the best trial.
        trial: its id.
        ranking: trial ids, the best first.
        metric: the gate's, which the winner's figure is of.
        ranked_by: the metric that ranks them; "" in outputs of older versions, which ranked by `metric`.
        metrics: the winner's.
        undefined: why a metric of the winner has no value, by its name.
        champion: the champion's metrics on the rows of the comparison, or None.
        compared: how candidate and champion differ on the rows that neither learned from, one sentence per metric.
        warnings: what the user should know about the comparison, one sentence each.
        refused: the reasons why the gate refuses the winner, one sentence each; empty if it passes.
    """

    winner: Trained
    trial: str
    ranking: list[str]
    metric: str
    metrics: dict[str, float]
    undefined: dict[str, str] = Field({})
    champion: dict[str, float] | None
    refused: list[str]
    warnings: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    ranked_by: str = ""
