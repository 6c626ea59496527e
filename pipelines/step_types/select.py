"""Inputs and outputs of `select`."""

from typing import Any

from pydantic import Field

from tidegate.models.decoding.settings import DecodingSettings
from tidegate.pipelines.experiment.dotted import with_values
from tidegate.pipelines.experiment.gate import Gate
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained


class SelectInputs(CodedInputs):
    """The trials that succeeded, the gate, the digest of the champion's bundle, the decoding settings, the run that
    training began with, the metrics of the user's of which lower values are better, and what computes them: `metrics`,
    `loss`, `label_smoothing` and `backend` of the training; {} where the user has none. `training` is the experiment's:
    with it the winner of a search is exported.
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
    training: dict[str, Any] = Field(default_factory=dict)

    def training_of(self, trial: Trained) -> dict[str, Any]:
        """The training section with a trial's values."""
        values: dict[str, Any] = with_values({"model": {}, "training": self.training}, trial.params)[
            "training"
        ]
        return values


class Selected(StepPart):
    """The winner and the gate's decision.

    Attributes:
        winner: the best trial, exported unless the gate refuses it.
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
