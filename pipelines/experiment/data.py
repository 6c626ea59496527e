"""The part of the experiment file that says where the rows come from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tidegate.models.config.losses import TASK_OF_KIND
from tidegate.pipelines.experiment.code import Reference
from tidegate.pipelines.experiment.data_parts.anomaly import Anomaly
from tidegate.pipelines.experiment.data_parts.columns import (
    InputSpec,
    Missing,
    OnlyTask,
    OutputSpec,
    TargetSpec,
    Task,
)
from tidegate.pipelines.experiment.data_parts.csv import Csv
from tidegate.pipelines.experiment.data_parts.forecast import Forecast
from tidegate.pipelines.experiment.data_parts.split import Split
from tidegate.pipelines.experiment.part import Part, as_list


def are_outputs(target: Any) -> bool:
    """Whether a target is written as a mapping of outputs, and not as one column with its options."""
    return isinstance(target, dict) and bool(target) and not isinstance(target.get("name"), str)


def _has_no_target(document: dict[str, Any]) -> bool:
    """Whether the target of a source is null, which is not the same as not stated."""
    stated = any(document.get(key) is not None for key in ("source", "load"))
    return stated and "target" in document and document["target"] is None and document.get("task") is None


def _targets(value: Any) -> Any:
    if are_outputs(value):
        return [{"name": name, **(options or {})} for name, options in value.items()]
    return as_list(value)


# The keys of `Data` that reading and preparing rows take as they are: streamed ones, and those that are held in memory.
STREAMED = {"format", "inputs", "target", "split", "sample_rate", "csv", "missing", "weight"}
ASKED = {*STREAMED, "transform", "forecast", "anomaly"}
# Short forms and other names: the key, and the place it stands for.
SHORT = {"test": ("split", "test"), "validation": ("split", "validation"), "sample_weight": ("weight",)}


def _with_short(document: dict[str, Any], key: str, place: tuple[str, ...]) -> dict[str, Any]:
    """The document with a short form's value moved to its place; raises ValueError if both are given."""
    rest = {name: value for name, value in document.items() if name != key}
    part = (rest.get(place[0]) or {}) if len(place) > 1 else rest
    if not isinstance(part, dict):
        return rest  # which is refused for itself
    if part.get(place[-1]) is not None:
        raise ValueError(f"{key} and {'.'.join(place)} are both given, and mean the same; leave one out")
    moved = {**part, place[-1]: document[key]}
    return {**rest, place[0]: moved} if len(place) > 1 else moved


def _absolute(folder: Path, path: str) -> str:
    return path if "://" in path else str((folder / path).resolve())


def _input(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Data(Part):
    """Where the rows come from and which columns matter."""

    source: str | None = Field(
        None,
        description="a file or folder, relative to the experiment file, or s3://BUCKET/KEY, gs://BUCKET/KEY, "
        "az://CONTAINER/KEY",
    )
    dataset: str | None = Field(None, description="a built-in dataset instead of a source")
    load: Reference | None = Field(
        None,
        description="a function of the project that gives the rows in place of a reader, load(source, **options), or "
        "load(**options) without a source: a dict of columns, a pandas, Polars or pyarrow table, or an iterator of "
        "these",
    )
    options: dict[str, Any] = Field({}, description="its keyword arguments")
    format: str | None = Field(
        None, description="reader of the source; inferred from its name when not given"
    )
    inputs: (
        list[Annotated[InputSpec, BeforeValidator(_input, json_schema_input_type=InputSpec | str)]] | None
    ) = Field(None, description="input columns; all but the target when not given")
    transform: Reference | None = Field(
        None,
        description="a reference such as churn.features:transform to a function of the project from raw columns to "
        "columns, in training and at the endpoint, which takes raw columns; inputs are then columns that it returns",
    )
    missing: Missing | None = Field(
        None,
        description="the same for all inputs that state none of their own; mean counts as zero where there is none",
    )
    target: (
        Annotated[
            list[str | TargetSpec],
            BeforeValidator(
                _targets,
                json_schema_input_type=list[str | TargetSpec]
                | str
                | TargetSpec
                | dict[str, OutputSpec | None],
            ),
        ]
        | None
    ) = Field(
        None,
        description="the column to predict, or several for a regression, or for several outputs of a model; these also "
        "as a mapping by name, with task, loss, weight and metrics of each",
    )
    task: Task | OnlyTask | None = Field(
        None,
        description="what the target is; inferred from the loss or its values when not given; multilabel: a set of "
        "labels, or a column of 0 and 1 for each; segmentation: a class at each place of an array; multioutput: each "
        "column is an output of its own; reconstruction: the model's input itself (target: null); generation: a text; "
        "detection: boxes; tagging: a label for each token of an input of kind tokens",
    )
    tile: int | None = Field(
        None,
        ge=16,
        le=4096,
        description="images with boxes are cut into square tiles of this many pixels a side, without overlap; whole "
        "when not given",
    )
    forecast: Forecast | None = Field(
        None,
        description="the target is a series whose next values are forecast; rows are in the order of split.time, true "
        "when not given",
    )
    anomaly: Anomaly | None = Field(
        None,
        description="there is no target: the model learns to answer its only input, and how far it is off is the "
        "score of an anomaly",
    )
    csv: Csv | None = Field(None, description="the dialect of CSV files; found out when not given")
    split: Split = Field(Split.model_construct(), description="how rows are divided")
    test: str | None = Field(None, description="a file or folder with the test rows; short for split.test")
    validation: str | None = Field(None, description="short for split.validation")
    weight: str | None = Field(
        None,
        description="a column of the rows' weights in the loss, 0 or more; no input unless inputs names it; metrics "
        "count each row once",
    )
    sample_weight: str | None = Field(None, description="Keras' name of weight")
    sample_rate: int | None = Field(
        None,
        ge=1,
        description="of an audio_folder, in Hz; a file with another one is an error; the first file's when not given",
    )
    stream: bool | Literal["auto"] = Field(
        "auto",
        description="true: rows stay on disk and are read one window at a time; auto: true where they would take more "
        "than an eighth of resources.memory",
    )
    shuffle_buffer: int | None = Field(
        None,
        ge=1,
        description="rows of such a window, which are shuffled together; as many as fit in a 32nd of resources.memory "
        "when not given",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, document: Any) -> Any:
        """The document with each short form in the place that it stands for; a target of null is a task."""
        if isinstance(document, dict) and _has_no_target(document):
            document = {**document, "task": "reconstruction"}
        for key, place in SHORT.items() if isinstance(document, dict) else ():
            if document.get(key) is not None:
                document = _with_short(document, key, place)
        return document

    @property
    def paths(self) -> dict[str, str]:
        """By part, "" for all that no other file has, the file or folder of its rows; none of a built-in dataset."""
        return {**({} if self.source is None else {"": self.source}), **self.split.files}

    def resolved(self, folder: Path) -> "Data":
        """The same with every path made absolute."""
        known = {part: _absolute(folder, path) for part, path in self.paths.items()}
        split = self.split.model_copy(update={part: path for part, path in known.items() if part})
        return self.model_copy(update={"source": known.get(""), "split": split})

    def problems(self) -> Iterator[str]:
        if self.split.files and self.dataset is not None:
            part, path = next(iter(self.split.files.items()))
            yield f"split.{part} is {path}, and a built-in dataset has no files; give a source, or a share"
        yield from self._problems_of_load()
        if (self.source is None and self.load is None) == (self.dataset is None):
            got = "both" if self.dataset else "neither"
            yield f"give either source (a file or folder) or dataset (a built-in); received {got}"
        if self.anomaly is not None:
            yield from self.anomaly.problems_beside(self)
        elif self.task == "reconstruction":
            if self.target:
                yield "task is reconstruction, and then the input is the target; leave target out, or the task"
        elif (self.source is not None or self.load is not None) and not self.target:
            yield (
                "target is missing; name the column to predict, e.g. target: label; of boxes "
                "target: {name: boxes, kind: boxes}; target: null learns to answer the input, as an autoencoder"
            )
        if self.csv is not None and (self.dataset is not None or self.format not in (None, "csv")):
            yield f"csv is stated, and the data is {self.dataset or self.format}; leave csv out"
        if self.shuffle_buffer is not None and (self.stream is False or self.dataset is not None):
            yield (
                "shuffle_buffer is for streamed rows, and these are held in memory and shuffled together; leave it "
                "out, or stream: true"
            )
        if self.stream is True and self.transform is not None:
            yield (
                f"stream is true, and transform {self.transform} needs all rows in memory; leave stream out, and set "
                "resources.memory for all rows"
            )
        if self.stream is True and self.dataset is not None:
            yield "a built-in dataset is held in memory; leave stream out, or name a source"
        yield from self._problems_of_forecast()
        for entry in self._targets_with_kind:
            if self.task not in (None, TASK_OF_KIND[str(entry.kind)]):
                words = {"text": "a text"}.get(str(entry.kind), entry.kind)
                yield (
                    f"target {entry.name} is {words}, and task is {self.task}; leave the kind or the task out"
                )
            if entry.kind == "mask" and self.stream is True:
                yield (
                    f"stream is true, and target {entry.name} is a mask, whose rows are held in memory; leave stream "
                    "out, and set resources.memory for all rows"
                )
            if entry.kind == "mask" and len(self.target or ()) > 1:
                yield f"target {entry.name} is a mask, which is the only target, and there are others; leave them out"

    def _problems_of_forecast(self) -> Iterator[str]:
        if self.forecast is None:
            if self.split.time is not None and self.split.folds is not None:
                yield (
                    f"split.folds {self.split.folds} are drawn at random, and rows are divided by time "
                    f"{self.split.time}; leave one out"
                )
            return
        split, stated = self.split, [entry for entry in self.target or () if not isinstance(entry, str)]
        beside = {
            "task": self.task,
            "weight": self.weight,
            "transform": self.transform,
            "tile": self.tile,
            "missing": self.missing,
            "split.group": split.group,
            "split.column": split.column,
            **{f"split.{part}": path for part, path in split.files.items()},
            "stream": self.stream if self.stream is True else None,
            **{f"target {entry.name}": entry.kind or entry.task for entry in stated},
        }
        for key, value in beside.items():
            if value is not None:
                yield f"{key} is {value}, which a forecast has not; leave it out, or forecast"

    def _problems_of_load(self) -> Iterator[str]:
        if self.load is None:
            if self.options:
                yield f"options {', '.join(self.options)} are of load, which is not given; name it, or leave them out"
            return
        of_readers = {
            "format": self.format,
            "csv": self.csv,
            "tile": self.tile,
            "sample_rate": self.sample_rate,
        }
        for key, value in of_readers.items():
            if value is not None:
                yield f"{key} is for a reader, and load {self.load} gives the rows; leave {key} out"
        if "source" in self.options:
            yield "options has source, which load gets from data.source; give it there"

    @property
    def _targets_with_kind(self) -> list[TargetSpec]:
        """The targets whose kind is stated."""
        return [entry for entry in self.target or () if isinstance(entry, TargetSpec) and entry.kind]

    @property
    def stated_task(self) -> str | None:
        """The task, where it or the target's kind says it."""
        if self.forecast is not None:
            return "forecasting"
        if self.anomaly is not None:
            return "anomaly"
        return self.task or next((TASK_OF_KIND[str(entry.kind)] for entry in self._targets_with_kind), None)
