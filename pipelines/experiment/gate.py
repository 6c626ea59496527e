"""The gate: what it may ask for, and whether a candidate passes. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from tidegate.models.config.metrics import gated_as, near_metric, top_k
from tidegate.models.evaluation.evaluation import NAMES as METRICS
from tidegate.pipelines.errors import ExperimentError, suggested
from tidegate.pipelines.experiment.automation.approval import Approval
from tidegate.pipelines.experiment.part import Part
from tidegate.pipelines.experiment.ranking import EPSILON, SPLITS, lower_is_better

DEFAULTS = {task: f"test_{names[0]}" for task, names in METRICS.items()}
SHARES = (  # from 0 to 1
    *("accuracy", "f1", "auc", "map50", "map", "ece"),
    *("precision", "recall", "balanced_accuracy", "pr_auc"),
    *("f1_micro", "subset_accuracy", "hamming", "mean_iou", "alarms"),
    "replay_agreement",
)
# Measured when a release answers what the live one recorded, before it gets traffic.
REPLAYED = ("replay_agreement", "replay_p99")
# What follows the name of one of several outputs.
OF_OUTPUT = tuple(f"_{name}" for task, names in METRICS.items() if task != "multioutput" for name in names)
OF_CLASS = tuple(f"{split}iou_" for split in SPLITS)  # of a class of a segmentation, whose name follows
CONFIDENCE = 0.95


class Criterion(Part):
    """One condition a candidate must meet."""

    metric: Annotated[str, AfterValidator(gated_as)] = Field(
        description="a metric of the run, such as test_accuracy or test_rmse"
    )
    minimum: float | None = Field(None, description="refuse below this")
    maximum: float | None = Field(None, description="refuse above this")
    improve_on_champion: float | None = Field(
        0.0,
        description="required improvement over the champion on rows that neither learned from. Above 0: released only "
        "when the improvement is shown; 0, or below: refused only when the candidate is shown to be worse by more than "
        "that; null: no comparison",
    )
    confidence: float | None = Field(
        CONFIDENCE,
        gt=0.5,
        lt=1,
        description="how sure the comparison with the champion must be, so that chance does not decide; null: the two "
        "numbers are compared as they are",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_champion(cls, value: Any) -> Any:
        """What is measured against the answers of the champion is not compared with it once more."""
        if not isinstance(value, dict) or value.get("metric") not in REPLAYED:
            return value
        if value.get("improve_on_champion") is not None:
            raise ValueError(
                f"{value['metric']} is measured against what the live release answered, so there is no "
                "improve_on_champion; expected minimum or maximum; leave it out"
            )
        return {**value, "improve_on_champion": None}

    def problems(self) -> Iterator[str]:
        if self.confidence != CONFIDENCE and not (
            self.improve_on_champion is not None and self.metric.startswith("test_")
        ):
            why = (
                "improve_on_champion is null"
                if self.improve_on_champion is None and self.metric not in REPLAYED
                else "only test_ metrics are compared"
            )
            yield f"confidence is of the comparison with the champion, and there is none, because {why}; leave it out"
        if self.metric in REPLAYED and self.minimum is None and self.maximum is None:
            yield (
                f"{self.metric} is measured against what the live release answered, and has no limit here; expected "
                "minimum or maximum; add one"
            )


def _kind_of_entry(value: Any) -> str:
    keys = [*value] if isinstance(value, dict) else []
    return "Approval" if isinstance(value, Approval) or "approval" in keys or keys == ["by"] else ""


# With tags, an error is about what was meant, and not about both; the empty one adds nothing to its place.
Entry = Annotated[
    Annotated[Criterion, Tag("")] | Annotated[Approval, Tag("Approval")], Discriminator(_kind_of_entry)
]
Gate = Annotated[
    Annotated[list[Entry], Tag("")] | Annotated[Literal["none"], Tag("none")],
    Discriminator(lambda value: "none" if isinstance(value, str) else ""),
]


def as_criteria(value: Any) -> Any:
    """A single criterion as a list of one; a list, or `none`, as it is. Raises ValueError for another word."""
    if isinstance(value, str) and value != "none":
        raise ValueError(
            "expected `none`, or what must hold, such as {metric: test_accuracy, minimum: 0.9}; write it so"
        )
    entries = [value] if isinstance(value, dict) else value
    for entry in entries if isinstance(entries, list) else ():
        both = [key for key in entry if key in Criterion.model_fields] if isinstance(entry, dict) else []
        if both and "approval" in entry:
            raise ValueError(
                f"approval and {both[0]} stand in one entry; expected an entry for each; write a list: "
                "[{metric: …}, {approval: …}]"
            )
    return entries


def criteria(gate: Gate) -> list[Criterion]:
    """The stated criteria."""
    return [] if isinstance(gate, str) else [entry for entry in gate if isinstance(entry, Criterion)]


def compared_by(gate: Gate) -> Gate:
    """What is compared when the winner is chosen; it asks nobody."""
    if isinstance(gate, str):
        return gate
    return [criterion for criterion in criteria(gate) if criterion.metric not in REPLAYED]


def replayed_by(gate: Gate) -> list[Criterion]:
    """What a release must meet when it answers recorded requests."""
    return [criterion for criterion in criteria(gate) if criterion.metric in REPLAYED]


def criteria_for(gate: Gate, task: str) -> list[Criterion]:
    """The experiment's criteria, or the default: not worse than the champion by the task's metric; none: no limit."""
    if isinstance(gate, str):
        return [Criterion.model_validate({"metric": DEFAULTS[task], "improve_on_champion": None})]
    return criteria(gate) or [Criterion.model_validate({"metric": DEFAULTS[task]})]


def check_name(metric: str, task: str | None, own: Sequence[str] = ()) -> None:
    """Refuse a metric that no run could have, before anything runs.

    Args:
        metric: what the gate names; one of several target columns is `test_rmse_COLUMN`, one of several outputs
            `test_OUTPUT_rmse`, one class of a segmentation `test_iou_CLASS`.
        task: of `preprocessing.schema.Task`; None where it is inferred from the data.
        own: names of the user's metrics in `training.metrics`.

    Raises:
        ExperimentError: naming the nearest known metric.
    """
    names = [name for kind in ([task] if task else METRICS) for name in METRICS[kind]]
    known = [_metric(split, name) for split in SPLITS for name in dict.fromkeys([*names, *own])]
    known += [EPSILON, *REPLAYED]
    of_column = task in (None, "regression") and metric.startswith(
        tuple(f"{split}{name}_" for split in SPLITS for name in METRICS["regression"])
    )
    of_top = task in (None, "classification") and top_k([metric]) and metric.startswith(SPLITS)
    of_output = task in (None, "multioutput") and metric.startswith(SPLITS) and metric.endswith(OF_OUTPUT)
    of_class = task in (None, "segmentation") and metric.startswith(OF_CLASS)
    if not (metric in known or of_column or of_top or of_output or of_class):
        raise ExperimentError(
            f'gate.metric: no run has a metric "{metric}"{suggested(near_metric(metric, known))}; '
            f"expected one of: {', '.join(known)}"
        )


def check_limits(metric: str, minimum: float | None, maximum: float | None) -> None:
    """Refuse a limit that no model can meet, before anything runs.

    Raises:
        ExperimentError: naming the limit and what the metric can be.
    """
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ExperimentError(
            f"gate.minimum: {minimum:g} for {metric} is above gate.maximum: {maximum:g}; expected "
            "minimum <= maximum; swap them, or leave one out"
        )
    names = {metric.removeprefix(split).removesuffix("_mean") for split in SPLITS}
    if not names & set(SHARES) and not top_k([metric]) and not metric.startswith(OF_CLASS):
        return
    if minimum is not None and minimum > 1:
        raise ExperimentError(
            f"gate.minimum: received {minimum:g} for {metric}, which is from 0 to 1; {minimum:g} % is {minimum / 100:g}"
        )
    if maximum is not None and maximum < 0:
        raise ExperimentError(f"gate.maximum: received {maximum:g} for {metric}, which is from 0 to 1")


def _metric(split: str, name: str) -> str:
    return f"{split}{name}_mean" if split == "folds_" else f"{split}{name}"


def check_metric(metric: str, known: Mapping[str, float], undefined: Mapping[str, str] | None = None) -> None:
    """Refuse a metric that the run does not have; one that is undefined for a reason is not refused here.

    Raises:
        ExperimentError: naming the nearest known metric.
    """
    if metric not in known and metric not in (undefined or ()):
        raise ExperimentError(
            f'gate.metric: this run has no metric "{metric}"{suggested(near_metric(metric, known))}; '
            f"it has {', '.join(sorted(known))}"
        )


@dataclass(frozen=True)
class Compared:
    """One metric of candidate and champion on the same rows, and the interval of its improvement.

    Attributes:
        low, high: the ends of the interval of the improvement, positive where the candidate is better; None where there
            is none, and the two numbers are compared.
        own_lower: see `lower_is_better`.
    """

    metric: str
    candidate: float
    champion: float
    rows: int
    confidence: float | None = None
    low: float | None = None
    high: float | None = None
    own_lower: Sequence[str] = ()

    def __str__(self) -> str:
        gain = self.candidate - self.champion
        told = f"{self.metric} {self.candidate:.4g} against {self.champion:.4g} of the champion on {self.rows:,} rows "
        told += f"that neither learned from; difference {gain:.2g}"
        if self.low is None or self.high is None or self.confidence is None:
            return told
        ends = (
            (-self.high, -self.low) if lower_is_better(self.metric, self.own_lower) else (self.low, self.high)
        )
        return f"{told}, {100 * self.confidence:g} % interval {ends[0]:.2g} … {ends[1]:.2g}"


def reasons_against(
    criteria: Sequence[Criterion],
    candidate: Mapping[str, float],
    compared: Mapping[str, Compared],
    undefined: Mapping[str, str] | None = None,
) -> list[str]:
    """Why the gate refuses a candidate: one sentence per criterion that is not met; none when it passes.

    Args:
        criteria: what must hold.
        candidate: its metrics.
        compared: the metrics that candidate and champion were compared by; empty where there is no champion.
        undefined: why a metric of the candidate has no value, by its name; such a criterion is not met.
    """
    reasons: list[str] = []
    for criterion in criteria:
        metric, wanted = criterion.metric, criterion.improve_on_champion
        if undefined and metric in undefined:
            reasons.append(
                f"{metric} is undefined: {undefined[metric]}; expected a number; gate another metric"
            )
            continue
        check_metric(metric, candidate)
        reasons += _absolute(criterion, candidate[metric])
        if wanted is not None and metric in compared and not _improves(wanted, compared[metric]):
            expected = f"an improvement of {wanted:g}" if wanted else "not worse"
            reasons.append(f"{compared[metric]}; expected {expected}")
    return reasons


def _improves(wanted: float, found: Compared) -> bool:
    """Whether chance leaves no doubt that more than 0 is reached, or leaves room for 0 or less to be reached."""
    lower = lower_is_better(found.metric, found.own_lower)
    better = found.champion - found.candidate if lower else found.candidate - found.champion
    reached = better
    if found.low is not None and found.high is not None:
        reached = found.low if wanted > 0 else max(found.high, better)
    return reached >= wanted - 1e-12


def _absolute(criterion: Criterion, value: float) -> list[str]:
    metric, minimum, maximum = criterion.metric, criterion.minimum, criterion.maximum
    reasons = []
    if minimum is not None and not value >= minimum:
        reasons.append(f"{metric} is {value:.6g}, below the minimum {minimum:g}")
    if maximum is not None and not value <= maximum:
        reasons.append(f"{metric} is {value:.6g}, above the maximum {maximum:g}")
    return reasons
