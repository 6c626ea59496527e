"""The contract of an endpoint: what a row is and what a prediction is; `GET /contract` returns it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tidegate.models.config.metrics import THRESHOLD
from tidegate.models.decoding.settings import (
    DEFAULT_DECODING,
    DEFAULT_DETECTION,
    Decoding,
    DecodingSettings,
    Detection,
)
from tidegate.models.explaining.integrated_gradients import STEPS
from tidegate.models.preprocessing.schema import Class, Field, Kind, Schema, Target, Task
from tidegate.serving.contract.answers import Prediction, predictions_of

COSTLY = ("width", "max_length", "max_boxes")  # settings that decide how long a request takes
MAX_EXPLAINED_ROWS = 16  # of one request, because each takes as long as several hundred predictions
MAX_TOKENS = 8192  # of all texts of one request together

MISSING = {
    "numeric": "null counts as the mean of the training rows",
    "categorical": "null and a category not listed count as no category",
    "text": "null counts as empty text; a word not seen in training counts as unknown",
    "id": "null and an id not seen in training count as unknown",
    "date": "null counts as no date",
    "tokens": "null counts as an empty list; a token not seen in training counts as unknown",
    "ids": "null counts as an empty list; an id not seen in training counts for nothing",
    "sequence": "null is refused; a row has 1 to shape[0] steps, and a longer one is refused",
}
STATED_MISSING = {"zero": {"numeric": "null counts as 0"}, "own": {"": "null counts as a value of its own"}}
NEVER_MISSING = "null is refused, because no row of the data lacks the value"
PASSED_ON = "null is passed on to the transform as a missing value"
# What is said of a value that training did not know, where null is refused.
UNSEEN = {
    "categorical": "; a category not listed counts as other, or as none",
    "text": "; a word not seen in training counts as unknown",
    "id": "; an id not seen in training counts as unknown",
    "tokens": "; a token not seen in training counts as unknown",
    "ids": "; an id not seen in training counts for nothing",
}
HASHED = "; an id not seen in training counts as those with the same hash"


class Input(BaseModel):
    """One input as a client sees it: dtype, shape of one row, categories, the rule for null.

    Attributes:
        nullable: whether null is taken; None: it is, as of bundles that were made before it was known.
        upright: see `preprocessing.schema.Field`.
        format: of a date that is not written in ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str
    nullable: bool | None = None
    format: str | None = None
    upright: bool | None = None


class ExplainSettings(BaseModel):
    """How predictions are explained, by integrated gradients.

    Attributes:
        rows: at most, of one request with `explain: true`.
        steps: points on each row's path from its baseline, at which the gradient is computed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = MAX_EXPLAINED_ROWS
    steps: int = STEPS


class Contract(BaseModel):
    """What an endpoint receives and returns.

    Attributes:
        classes: of a classifier, in the order of `probabilities`; of a model that finds boxes or sets of labels, the
            labels.
        shape: of a dense answer's row, `outputs` and `quantiles`, see `preprocessing.schema.Target`.
        threshold: of sets of labels, the probability from which a label is answered; None where each label has one of
            its own, which are `thresholds`, by label. Of anomalies the score above which a row is one.
        prompt: of a model that writes texts, the input that the text continues; None: no input.
        decoding: of a model that writes texts, how they are chosen.
        most_rows: of a model that writes texts, the rows that one request may have.
        values: of masks, what a pixel of each class holds.
        detection: of a model that finds boxes, which of them are returned.
        explain: how predictions are explained; None: they are not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    inputs: tuple[Input, ...]
    target: tuple[str, ...]
    classes: tuple[Class, ...] = ()
    prompt: str | None = None
    decoding: Decoding | None = None
    most_rows: int | None = None
    detection: Detection | None = None
    explain: ExplainSettings | None = None
    shape: tuple[int, ...] | None = None
    outputs: tuple[Target, ...] | None = None
    threshold: float | None = None
    quantiles: tuple[float, ...] | None = None
    thresholds: dict[str, float] | None = None
    values: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        schema: Schema,
        categories: Mapping[str, Sequence[str]],
        settings: DecodingSettings | None = None,
        length: int = 0,
        explains: bool = False,
        transformed: bool = False,
    ) -> "Contract":
        """Build it from the data's schema.

        Args:
            schema: of the data.
            categories: that each categorical field had in training.
            settings: how the model's texts or boxes are chosen; None: the default.
            length: at most, of a text in tokens, where `settings` do not say.
            explains: whether a request may ask for explanations.
            transformed: whether the inputs are given to a transform of the user's own, which decides what becomes of a
                missing value.
        """
        writes = schema.target.task == "generation"
        finds = schema.target.task == "detection"
        decoding = settings if isinstance(settings, Decoding) else DEFAULT_DECODING
        longest = decoding.max_length or length or 1
        return cls(
            task=schema.target.task,
            inputs=tuple(
                _input(field, categories.get(field.name, ()), transformed) for field in schema.inputs
            ),
            target=schema.target.names,
            classes=schema.target.classes,
            prompt=schema.target.prompt,
            decoding=decoding.model_copy(update={"max_length": longest}) if writes else None,
            most_rows=max(1, MAX_TOKENS // longest) if writes else None,
            detection=(settings if isinstance(settings, Detection) else DEFAULT_DETECTION) if finds else None,
            explain=ExplainSettings() if explains else None,
            shape=None if schema.target.task == "anomaly" else schema.target.shape,
            outputs=schema.target.outputs,
            threshold=_threshold(schema.target),
            thresholds=_by_label(schema.target),
            quantiles=schema.target.quantiles,
            values=schema.target.values,
        )

    @cached_property
    def schema_(self) -> Schema:
        """The schema it was built from."""
        fields = tuple(
            Field(
                **entry.model_dump(
                    include={"name", "kind", "dtype", "shape", "nullable", "format", "upright"}
                )
            )
            for entry in self.inputs
        )
        return Schema(inputs=fields, target=self.target_)

    @cached_property
    def target_(self) -> Target:
        """The target, as in the schema."""
        return Target(
            names=self.target,
            task=self.task,
            classes=self.classes,
            prompt=self.prompt,
            shape=self.shape,
            outputs=self.outputs,
            quantiles=self.quantiles,
            thresholds=self._thresholds,
            values=self.values,
        )

    @property
    def _thresholds(self) -> tuple[float, ...] | None:
        if self.task == "anomaly" and self.threshold is not None:
            return (self.threshold,)
        by_label = self.thresholds
        return None if by_label is None else tuple(by_label[str(name)] for name in self.classes)

    def answers_like(self, target: Target) -> bool:
        """Whether the answers mean the same as those to another target."""
        ours, theirs = (
            (
                one.task,
                one.classes,
                one.task == "anomaly" or one.shape,
                one.outputs,
                one.quantiles,
                one.values,
            )
            for one in (self.target_, target)
        )
        return ours == theirs

    @property
    def settings(self) -> DecodingSettings | None:
        """How texts or boxes are chosen; None for all other models."""
        return self.decoding or self.detection

    @property
    def settings_key(self) -> str:
        """The key of `settings` in a request."""
        return "decoding" if self.detection is None else "detection"

    def predictions(self, values: NDArray[Any]) -> list[Prediction]:
        """Convert predictions to JSON values, one per row.

        Args:
            values: `(n, units)`, see `preprocessing.target.answers`; texts as objects `(n, 2)`, log-probability and
                text; boxes `(n, max_boxes, 6)`, see `decoding.detections`.

        Returns:
            For a text `{"text", "log_probability"}`; for boxes `{"boxes": [{"label", "score", "box": [left, top, right,
            bottom]}]}`; else see `serving.contract.answers`.
        """
        rows = values.tolist()
        if self.detection is not None:
            return [{"boxes": [self._box(box) for box in row if box[0] >= 0]} for row in rows]
        if self.task == "generation":
            return [{"text": text, "log_probability": score} for score, text in rows]
        return predictions_of(self.target_, values)

    def _box(self, numbers: list[float]) -> dict[str, Any]:
        return {"label": self.classes[int(numbers[0])], "score": numbers[1], "box": numbers[2:]}


def _threshold(target: Target) -> float | None:
    if target.task == "anomaly":
        return target.thresholds[0] if target.thresholds else None
    return THRESHOLD if target.task == "multilabel" and target.thresholds is None else None


def _by_label(target: Target) -> dict[str, float] | None:
    if target.thresholds is None or target.task == "anomaly":
        return None
    return dict(zip(map(str, target.classes), target.thresholds, strict=True))


def _input(field: Field, categories: Sequence[str], transformed: bool) -> Input:
    single = not field.shape or field.kind == "sequence"
    return Input(
        name=field.name,
        kind=field.kind,
        dtype=field.dtype,
        shape=field.shape,
        categories=tuple(categories),
        missing=_rule(field, transformed) if single else "null is refused",
        nullable=field.nullable if single and field.kind != "sequence" else None,
        format=field.format,
        upright=field.upright,
    )


def _rule(field: Field, transformed: bool) -> str:
    """What null means, in words."""
    if transformed and field.kind != "sequence":
        return NEVER_MISSING if field.nullable is False else PASSED_ON
    if field.nullable is False and field.kind != "sequence":
        return f"{NEVER_MISSING}{HASHED if field.hashed else UNSEEN.get(field.kind, '')}"
    if field.hashed:
        return f"null counts as {'unknown' if field.kind == 'id' else 'an empty list'}{HASHED}"
    if field.kind == "categorical" and field.other and field.missing != "own":
        return "null counts as no category, one not listed as other"
    stated = STATED_MISSING.get(field.missing or "", {})
    return stated.get(field.kind) or stated.get("") or MISSING.get(field.kind, "null is refused")
