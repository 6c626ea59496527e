"""The contract of an endpoint: what a row is, what a prediction is, and `GET /contract` that says so."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tidegate.models.decoding.settings import (
    DEFAULT_DECODING,
    DEFAULT_DETECTION,
    Decoding,
    DecodingSettings,
    Detection,
)
from tidegate.models.explaining.integrated_gradients import STEPS
from tidegate.models.preprocessing.schema import Class, Field, Kind, Schema, Target, Task

Prediction = dict[str, Any] | float | list[float]

FEW = 8
COSTLY = ("width", "max_length", "max_boxes")
MOST_EXPLAINED = 16  # rows of one request, because each takes as long as several hundred predictions
MOST_TOKENS = 8192  # that one request's texts may have together

MISSING = {
    "numeric": "null counts as the mean of the training rows",
    "categorical": "null and a category not listed count as no category",
    "text": "null counts as empty text; a word not seen in training counts as unknown",
    "sequence": "null is refused; a row has 1 to shape[0] steps, and a longer one is refused",
}


class Input(BaseModel):
    """One input as a client sees it: dtype, shape of one row, categories, rule for null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str


class Explaining(BaseModel):
    """How predictions are explained, by integrated gradients.

    Attributes:
        rows: of one request with `explain: true` at most.
        steps: points of each row's path from its baseline, at which the gradient is taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = MOST_EXPLAINED
    steps: int = STEPS


class Contract(BaseModel):
    """What an endpoint takes and gives; `classes` is the order of `probabilities`.

    `decoding` is how a text is chosen, of a model that writes one, and `most_rows` how many of them a request may ask
    for; for all others both are left out, as `explain` is where predictions are not explained. `detection` says which
    boxes are answered, of a model that finds some.
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
    explain: Explaining | None = None

    @classmethod
    def of(
        cls,
        schema: Schema,
        categories: Mapping[str, Sequence[str]],
        settings: DecodingSettings | None = None,
        length: int = 0,
        explains: bool = False,
    ) -> "Contract":
        """Build it from the data's schema.

        Args:
            schema: of the data.
            categories: that each categorical field had in training.
            settings: how a text that is to be written, or boxes that are to be found, are chosen; None: the default.
            length: tokens of such a text at most, where `settings` do not say.
            explains: whether predictions are explained where that is asked for.
        """
        writes = schema.target.task == "generation"
        finds = schema.target.task == "detection"
        decoding = settings if isinstance(settings, Decoding) else DEFAULT_DECODING
        longest = decoding.max_length or length or 1
        return cls(
            task=schema.target.task,
            inputs=tuple(_input(field, categories.get(field.name, ())) for field in schema.inputs),
            target=schema.target.names,
            classes=schema.target.classes,
            prompt=schema.target.prompt,
            decoding=decoding.model_copy(update={"max_length": longest}) if writes else None,
            most_rows=max(1, MOST_TOKENS // longest) if writes else None,
            detection=(settings if isinstance(settings, Detection) else DEFAULT_DETECTION) if finds else None,
            explain=Explaining() if explains else None,
        )

    @cached_property
    def schema_(self) -> Schema:
        """The schema it was built from."""
        fields = tuple(
            Field(name=entry.name, kind=entry.kind, dtype=entry.dtype, shape=entry.shape)
            for entry in self.inputs
        )
        target = Target(names=self.target, task=self.task, classes=self.classes, prompt=self.prompt)
        return Schema(inputs=fields, target=target)

    @property
    def settings(self) -> DecodingSettings | None:
        """How texts or boxes are chosen; None of all other models."""
        return self.decoding or self.detection

    @property
    def settings_key(self) -> str:
        """What a request calls them."""
        return "decoding" if self.detection is None else "detection"

    def predictions(self, values: NDArray[Any]) -> list[Prediction]:
        """Write predictions as answers have them.

        Args:
            values: probabilities `(n, classes)`, or `(n, outputs)` of a regression, float; of texts objects
                `(n, 2)`, log-probability and text; of boxes `(n, max_boxes, 6)`, see `decoding.detections`.

        Returns:
            For a classifier `{"label", "probability", "probabilities"}` a row; for a text `{"text",
            "log_probability"}`; for boxes `{"boxes": [{"label", "score", "box": [left, top, right, bottom]}]}`; else a
            number a row, or a list of numbers where there are several outputs.
        """
        rows = values.tolist()
        if self.detection is not None:
            return [{"boxes": [self._box(box) for box in row if box[0] >= 0]} for row in rows]
        if self.task == "generation":
            return [{"text": text, "log_probability": score} for score, text in rows]
        if self.task == "regression":
            return [row[0] for row in rows] if values.shape[1] == 1 else rows
        best = best_of(values)
        return [
            {"label": self.classes[top], "probability": row[top], "probabilities": row}
            for top, row in zip(best, rows, strict=True)
        ]

    def _box(self, numbers: list[float]) -> dict[str, Any]:
        return {"label": self.classes[int(numbers[0])], "score": numbers[1], "box": numbers[2:]}


def best_of(values: NDArray[Any]) -> list[int]:
    """The position of the largest value in each row; for few rows without NumPy, which is slow to begin."""
    if len(values) <= FEW:
        return [row.index(max(row)) for row in values.tolist()]
    best: list[int] = values.argmax(axis=1).tolist()
    return best


def _input(field: Field, categories: Sequence[str]) -> Input:
    rule = MISSING.get(field.kind) if not field.shape or field.kind == "sequence" else None
    return Input(
        name=field.name,
        kind=field.kind,
        dtype=field.dtype,
        shape=field.shape,
        categories=tuple(categories),
        missing=rule or "null is refused",
    )
