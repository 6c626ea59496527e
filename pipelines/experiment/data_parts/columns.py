"""The parts of the experiment file that name the columns of the rows: inputs, targets and outputs."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from tidegate.pipelines.experiment.part import Part

Missing = Literal["mean", "zero", "own"]
Task = Literal["classification", "regression", "multilabel", "segmentation"]  # of any output
OnlyTask = Literal[
    "multioutput", "reconstruction", "generation", "detection", "tagging"
]  # of the whole model


class InputSpec(Part):
    """One input column and, where the data does not show it, its kind."""

    name: str = Field(description="the column's name")
    kind: (
        Literal[
            "numeric",
            "integer",
            "number",
            "categorical",
            "id",
            "ids",
            "date",
            "text",
            "tokens",
            "string",
            "image",
            "sequence",
        ]
        | None
    ) = Field(
        None,
        description="how the column is read; inferred from its values when not given; integer: whole numbers; id: an "
        "index for an Embedding; ids: a list of them, of any length, whose order means nothing; date: dates as text, "
        "which become numbers; tokens: a text as a list of its tokens; string: a text as it is, for a "
        "TextVectorization layer",
    )
    scale: Literal["none", "standard", "minmax", "robust", "log"] | None = Field(
        None,
        description="of a number: as it is; by mean and deviation (when not given); to 0…1; by median and quartiles; "
        "its logarithm by mean and deviation; of an image only none: the stored numbers, such as 0 to 255; 0 to 1 when "
        "not given",
    )
    limit: int | None = Field(
        None, ge=1, le=100_000, description="categories known, the most frequent ones; 1000 when not given"
    )
    other: bool | None = Field(
        None,
        description="whether categories beyond the limit, and unseen ones, share one of their own; true where training "
        "rows have some, when not given",
    )
    unknown: int | None = Field(
        None,
        ge=0,
        description="of lists of ids: the id in place of one that is out of range; 0 when not given",
    )
    format: str | None = Field(
        None,
        description="of a date: year_first, day_first, month_first or a pattern such as '%d %b %Y'; told "
        "from its values when not given",
    )
    encode: list[Literal["days", "day", "weekday", "month", "year", "hour", "age"]] | None = Field(
        None,
        description="of a date: what the model gets of it; weekday and month are one-hot, hour is a sine and a cosine, "
        "age is counted from the newest training row; days, day, weekday, month, and hour where there are times, when "
        "not given",
    )
    missing: Missing | None = Field(
        None,
        description="what a missing value becomes, and that a request may leave it out: the mean; zero (of a category: "
        "none); own: a feature of its own; when not given the mean, and only where rows of the data lack the value",
    )
    tokens: Literal["words", "characters"] | None = Field(
        None, description="what a text is split into; words when not given"
    )
    length: int | None = Field(
        None, ge=1, le=4096, description="tokens of a text that are read; longer texts are cut at the end"
    )
    hashed: int | None = Field(
        None,
        ge=2,
        le=10_000_000,
        description="of an id, or a list of them: so many ids that all values share by their hash, so that none is "
        "unknown; by vocabulary when not given",
    )
    vocabulary: int | None = Field(
        None,
        ge=1,
        description="distinct tokens, or ids, known: the most frequent ones; of lists of ids: their number",
    )


class TargetSpec(Part):
    """One target column and, where its values do not show it, its kind."""

    name: str = Field(description="the column's name")
    kind: Literal["text", "boxes", "labels", "tags", "mask"] | None = Field(
        None,
        description="text: a text that the model writes; boxes: objects to find in an image; labels: a set of labels a "
        "row, as a list or a text with | ; or , between them; tags: a list with a label for each token; mask: an image "
        "whose pixels hold the number of a class",
    )
    classes: list[str] | dict[int, str] | None = Field(
        None,
        description="of a mask, the names of its classes: a list for pixels of 0, 1 and so on, or by what a pixel "
        "holds, such as {0: ground, 255: tree}; the values that occur when not given",
    )
    ignore: int | None = Field(
        None,
        description="of a mask, what a pixel without a class holds; the loss and the metrics leave it out",
    )
    task: Task | None = Field(
        None, description="of one of several outputs, what it is; inferred from its values when not given"
    )
    tokens: Literal["words", "characters", "subwords"] | None = Field(
        None,
        description="what a text is written in; subwords: byte-pair tokens learned from the training texts; characters "
        "when not given",
    )
    length: int | None = Field(
        None, ge=1, le=4096, description="tokens of a text that are learned; longer texts are cut at the end"
    )
    vocabulary: int | None = Field(None, ge=1, description="distinct tokens known, the most frequent ones")

    def problems(self) -> Iterator[str]:
        stated = [key for key in ("classes", "ignore") if getattr(self, key) is not None]
        if stated and self.kind != "mask":
            yield (
                f"target {self.name} states {' and '.join(stated)}, which only a mask has; set kind: mask, or leave it "
                "out"
            )
        if self.classes is None:
            return
        held = self.classes if isinstance(self.classes, dict) else dict(enumerate(self.classes))
        if self.ignore in held:
            yield (
                f"target {self.name} ignores {self.ignore}, which is the class {held[self.ignore]!r}; expected another "
                "value; correct classes or ignore"
            )
        names = list(self.classes.values() if isinstance(self.classes, dict) else self.classes)
        if len(names) < 2 or len(set(names)) < len(names) or not all(name.strip() for name in names):
            yield f"classes of target {self.name} are {names}; expected two different names or more; correct them"


class OutputSpec(Part):
    """One of several outputs of a model, by the name of its column."""

    kind: Literal["labels"] | None = Field(None, description="labels: a set of labels a row")
    task: Task | None = Field(None, description="what it is; inferred from its values when not given")
    loss: str | dict[str, Any] | None = Field(None, description="as training.loss")
    weight: float = Field(1.0, gt=0, description="what its loss counts in the sum of all")
    metrics: list[Any] | None = Field(
        None, description="as training.metrics; one of your own is computed in epochs alone"
    )
