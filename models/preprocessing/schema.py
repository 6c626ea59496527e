"""The schema of inputs and target: names, kinds, dtypes, shapes and classes, fixed once in `prepare`."""

from __future__ import annotations

import math
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Kind = Literal["numeric", "categorical", "text", "image", "sequence", "id", "date", "tokens", "ids"]
Scale = Literal["none", "standard", "minmax", "robust", "log"]
Missing = Literal["mean", "zero", "own"]
DatePart = Literal["days", "day", "weekday", "month", "year", "hour", "age"]
Tokens = Literal["words", "characters", "whole"]
TargetTokens = Literal["words", "characters", "subwords"]
Task = Literal[
    "classification",
    "regression",
    "generation",
    "detection",
    "multilabel",
    "segmentation",
    "multioutput",
    "reconstruction",
    "tagging",
    "forecasting",
    "anomaly",
]
Class = bool | int | str

NUMBERS = ("integer", "number")  # may be stated too: a numeric column, `integer` of whole numbers
STRING = "string"  # a text that the model gets as it is: kind `text` with tokens `whole`
KINDS: tuple[str, ...] = (*get_args(Kind), *NUMBERS, STRING)
TEXT_OPTIONS = ("tokens", "length", "vocabulary")


class Field(BaseModel):
    """One input column; `dtype` is NumPy's name or "str", `shape` that of one row (() is one value).

    For a sequence the first number of `shape` is the largest number of steps, see `data.sequences`.

    Attributes:
        tokens, length: of a text, what a token is and how many are read; `whole`: the model gets the string itself.
        vocabulary: of a text, an id or a list of them, how many distinct ones are known.
        hashed: of an id or a list of them, the number of ids that all values share by their hash; None: by vocabulary.
        scale: of a number; None is `standard`, by mean and deviation. Of an image `none`: the stored numbers.
        limit: of a category, how many are known, the most frequent ones; None: 1000.
        other: whether all other categories share one; None: where training rows have some.
        unknown: of an array of ids, the id in place of one that is out of range.
        format: of a date, see `data.dates`.
        encode: of a date, what the model gets of it, see `encoding.date_parts`; None: the usual parts.
        missing: what a missing value becomes: the mean, zero, or something of its own; None: the mean of numbers, no
            category, an empty text.
        nullable: whether a request may leave the value out, because rows of the data did; None: not known.
        upright: of an image, that its files are read as `data.image_pixels` does; without it, in models made before
            that, the stored pixels are read whatever their orientation, and depths above 8 bits are cut off at 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    tokens: Tokens | None = None
    length: int | None = None
    vocabulary: int | None = None
    scale: Scale | None = None
    limit: int | None = None
    other: bool | None = None
    unknown: int | None = None
    hashed: int | None = None
    format: str | None = None
    encode: tuple[DatePart, ...] | None = None
    missing: Missing | None = None
    nullable: bool | None = None
    upright: bool | None = None

    @property
    def free_shape(self) -> tuple[int, ...]:
        """The shape of a row as a tensor; -1 for a size that may be smaller than the stated one."""
        return (-1, *self.shape[1:]) if self.kind == "sequence" else self.shape


class Target(BaseModel):
    """The target; `classes` are in the order of the model's outputs, empty for a regression and a text.

    For a text (task `generation`): `tokens`, `length` and `vocabulary` as for a field; `prompt` is the input that the
    text begins with, None if the text is generated from the inputs, as in a translation. For boxes (task `detection`)
    and sets of labels (`multilabel`) `classes` are the labels.

    Attributes:
        shape: of a row of a dense target: a class at each place (`segmentation`), at each token (`tagging`, the first
            class stands for none, see `target.tags`), or numbers (`regression`); of
            the model's input itself (`reconstruction`, without names) that input's; None: a value a name.
        outputs: of a model of several outputs (`multioutput`), each a target of its own, in the order of their names.
        quantiles: of a forecast (`forecasting`, whose shape is its steps), those answered for each step, ascending.
        thresholds: of sets of labels, the probability from which each label is answered; None: 0.5 for all.
            Of anomalies the one score above which a row is one.
        values, ignored: of masks, what a pixel of each class holds, and one that has no class; None: no masks, and no
            such pixels.
        label, alarms: of anomalies (`anomaly`, whose shape is the input's), the column of known ones, and the share of
            validation rows above the threshold.
        naive_error: of a forecast, what MASE divides by, see `forecast.series.Series.naive_error`; None: there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    task: Task
    classes: tuple[Class, ...] = ()
    tokens: TargetTokens | None = None
    length: int | None = None
    vocabulary: int | None = None
    prompt: str | None = None
    shape: tuple[int, ...] | None = None
    outputs: tuple[Target, ...] | None = None
    quantiles: tuple[float, ...] | None = None
    naive_error: float | None = None
    thresholds: tuple[float, ...] | None = None
    label: str | None = None
    alarms: float | None = None
    values: tuple[int, ...] | None = None
    ignored: int | None = None

    @property
    def name(self) -> str:
        """What the output is called."""
        return "_".join(self.names) or "output"

    @property
    def at_places(self) -> bool:
        """Whether a row has a class at each of several places."""
        return self.task in ("segmentation", "tagging")

    @property
    def places(self) -> int:
        """How many classes or numbers a row of the target has."""
        return len(self.names) if self.shape is None else math.prod(self.shape)

    @property
    def units(self) -> int:
        """How many numbers an answer has: probabilities of classes, or values; 0 where only the model knows."""
        if self.task == "anomaly":
            return 1
        if self.outputs is not None:
            return sum(output.units for output in self.outputs)
        if self.at_places:
            return self.places * len(self.classes)
        if self.quantiles is not None:
            return self.places * len(self.quantiles)
        return len(self.classes) if self.task in ("classification", "multilabel") else self.places


class Schema(BaseModel):
    """The contract between training and endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Field, ...]
    target: Target
