"""The experiment file: frozen, typed, and strict about what it does not know."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.decoding.settings import Decoding, Detection, Settings
from models.devices import require_spread
from models.errors import OptionsError
from models.losses import TASK_OF_KIND
from models.training import Training as TrainingOptions

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]
MEMORY = r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
Fraction = Annotated[float, Field(ge=0, lt=1)]
Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h)$")]


class Part(BaseModel):
    """A part of the experiment: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class InputSpec(Part):
    """One input column and, where it can not be told from the data, its kind."""

    name: str = Field(description="the column's name")
    kind: Literal["numeric", "categorical", "text", "image", "sequence"] | None = Field(
        None, description="how the column is read; inferred from its values when not given"
    )
    tokens: Literal["words", "characters"] | None = Field(
        None, description="what a text is cut into; words when not given"
    )
    length: int | None = Field(
        None, ge=1, le=4096, description="tokens of a text that are read; longer texts are cut at the end"
    )
    vocabulary: int | None = Field(None, ge=1, description="distinct tokens known, the most frequent ones")


class TargetSpec(Part):
    """One target column and, where its values do not tell, what it is."""

    name: str = Field(description="the column's name")
    kind: Literal["text", "boxes"] | None = Field(
        None, description="text: the column is a text to be written; boxes: to be found in an image"
    )
    tokens: Literal["words", "characters"] | None = Field(
        None, description="what is written one after the other; characters when not given"
    )
    length: int | None = Field(
        None, ge=1, le=4096, description="tokens of a text that are learned; longer texts are cut at the end"
    )
    vocabulary: int | None = Field(None, ge=1, description="distinct tokens known, the most frequent ones")


class Split(Part):
    """How rows are divided, seeded and stratified for classes."""

    validation: Fraction = Field(0.1, description="share of rows that steers training")
    test: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="share of rows held out for the gate")
    seed: int = Field(7, ge=0, description="seed of the shuffle")
    folds: int | None = Field(
        None,
        ge=2,
        description="as many models more are trained on all but the test rows, each judged on a fold the others learn "
        "from; what is released learns from the training rows: validation 0 gives it all but the test rows",
    )

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} + test {self.test} leave no rows to train on; "
                "their sum must be below 1"
            )
        return self


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


def _input(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Data(Part):
    """Where the rows come from and which columns matter."""

    source: str | None = Field(
        None, description="a file or folder, relative to the experiment file, or s3://BUCKET/KEY"
    )
    dataset: str | None = Field(None, description="a built-in dataset instead of a source")
    format: str | None = Field(None, description="reader of the source; told from its name when not given")
    inputs: (
        list[Annotated[InputSpec, BeforeValidator(_input, json_schema_input_type=InputSpec | str)]] | None
    ) = Field(None, description="input columns; all but the target when not given")
    target: (
        Annotated[
            list[str | TargetSpec],
            BeforeValidator(_listed, json_schema_input_type=list[str | TargetSpec] | str | TargetSpec),
        ]
        | None
    ) = Field(None, description="the column to predict, or several for a regression")
    task: Literal["classification", "regression", "generation", "detection"] | None = Field(
        None,
        description="what the target is; inferred from the loss or its values when not given; generation: a text; "
        "detection: boxes",
    )
    tile: int | None = Field(
        None,
        ge=16,
        le=4096,
        description="images with boxes are cut into pieces of so many pixels, without overlap; whole when not given",
    )
    split: Split = Field(Split.model_validate({}), description="how rows are divided")
    sample_rate: int | None = Field(
        None,
        ge=1,
        description="of an audio_folder, in Hz; a file of another one is an error; the first file's when "
        "not given",
    )
    stream: bool | Literal["auto"] = Field(
        "auto",
        description="true: rows stay on the disk and pass through memory a window at a time; auto: where they would "
        "take more than an eighth of resources.memory",
    )
    shuffle_buffer: int | None = Field(
        None,
        ge=1,
        description="rows of such a window, within which they are shuffled; as many as a 32nd of resources.memory "
        "holds when not given",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "Data":
        if (self.source is None) == (self.dataset is None):
            got = "both" if self.source else "neither"
            raise ValueError(f"give either source (a file or folder) or dataset (a built-in); received {got}")
        if self.source is not None and not self.target:
            raise ValueError(
                "target is missing; name the column to predict, e.g. target: label; of boxes "
                "target: {name: boxes, kind: boxes}"
            )
        if self.stream is True and self.dataset is not None:
            raise ValueError("a built-in dataset is held in memory; leave stream out, or name a source")
        for entry in self._told:
            if self.task not in (None, TASK_OF_KIND[str(entry.kind)]):
                words = {"text": "a text", "boxes": "boxes"}[str(entry.kind)]
                raise ValueError(
                    f"target {entry.name} is {words}, and task is {self.task}; leave the kind or the task out"
                )
        return self

    @property
    def _told(self) -> list[TargetSpec]:
        """The targets whose kind is stated."""
        return [entry for entry in self.target or () if isinstance(entry, TargetSpec) and entry.kind]

    @property
    def stated_task(self) -> str | None:
        """The task, where it or the target's kind says it."""
        return self.task or next((TASK_OF_KIND[str(entry.kind)] for entry in self._told), None)


class Model(Part):
    """A built-in family or the user's own file; every other key is an option of it."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=(), serialize_by_alias=True)
    family: str | None = Field(None, description="a built-in model family")
    file: str | None = Field(None, description="a Python file that defines build(inputs, outputs, **options)")
    from_: str | None = Field(
        None,
        alias="from",
        description="a run's id, or the name of an experiment, whose newest run it is then: training begins with the "
        "weights of its winner; a last layer of another shape begins anew",
    )
    freeze: Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=list[str] | str)] | None = (
        Field(None, description="names of that model's layers that stay as they are, such as conv2d*")
    )

    @property
    def options(self) -> dict[str, Any]:
        """What the model is built from."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"from_", "freeze"})

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        if (self.family is None) == (self.file is None):
            got = "both" if self.family else "neither"
            raise ValueError(f"give either family (e.g. mlp) or file (./my_model.py); received {got}")
        if self.freeze and self.from_ is None:
            raise ValueError("freeze keeps layers of an earlier run; say which one: from: RUN")
        if self.from_ is not None and self.options.get("pretrain"):
            raise ValueError(
                "from begins with trained weights, and pretrain would be lost; leave one of the two out"
            )
        return self


class Training(TrainingOptions):
    """How the model is fitted, and from which random start."""

    seed: int = Field(7, ge=0, description="seed of initial weights, order of batches and dropout")


class Pruning(Part):
    """Stop a trial whose validation loss is worse than the median of earlier trials."""

    warmup_epochs: int = Field(3, ge=0, description="epochs every trial may run")
    minimum_trials: int = Field(4, ge=1, description="finished trials needed before the median means much")


class Search(Part):
    """Several trials over a space of hyperparameters."""

    method: Literal["grid", "random", "tpe"] = Field("tpe", description="how the next trial is chosen")
    trials: int | None = Field(None, ge=1, description="number of trials; the whole grid when not given")
    parallelism: int = Field(1, ge=1, description="trials that may run at once")
    seed: int = Field(0, ge=0, description="seed of the sampler")
    pruning: Pruning | None = Field(Pruning.model_validate({}), description="null lets every trial finish")
    space: dict[str, Any] = Field(description="dotted key of the experiment -> {low, high, log} or choices")

    @model_validator(mode="after")
    def _bounded(self) -> "Search":
        if not self.space:
            raise ValueError(
                "space is empty; name at least one key, e.g. training.optimizer.learning_rate: "
                "{low: 0.001, high: 0.1, log: true}"
            )
        for key in self.space:
            if key.split(".")[0] not in ("model", "training"):
                raise ValueError(f'space key "{key}" must begin with model. or training.')
        if self.method != "grid" and self.trials is None:
            raise ValueError(f"trials is missing; {self.method} needs a number of trials, e.g. trials: 8")
        return self


class Criterion(Part):
    """One condition a candidate must meet."""

    metric: str = Field(description="a metric of the run, such as test_accuracy or test_rmse")
    minimum: float | None = Field(None, description="refuse below this")
    maximum: float | None = Field(None, description="refuse above this")
    improve_on_champion: float | None = Field(
        0.0, description="improvement over the champion that is asked for; null compares with nothing"
    )


class Resources(Part):
    """What one step may use."""

    cpu: float = Field(2, gt=0, description="cores")
    memory: str = Field("4Gi", pattern=MEMORY, description="memory limit")
    gpus: int = Field(0, ge=0, description="GPUs a train step must see, or it fails")
    nodes: int = Field(
        1,
        ge=1,
        description="processes of a train step, each with its GPUs: pods on a cluster, here on this machine",
    )
    member_timeout: Duration = Field(
        "10m",
        description="a train step of several nodes ends when one of them does not come, or move, for so long",
    )
    gpu_resource: str = Field("nvidia.com/gpu", description="the device plugin's name of a GPU, on a cluster")
    node_selector: dict[str, str] = Field({}, description="labels of the nodes it may run on, on a cluster")
    tolerations: list[dict[str, Any]] = Field([], description="taints it tolerates, as Kubernetes has them")
    priority_class: str = Field("", description="its PriorityClass, on a cluster")
    queue: str = Field("", description="Kueue's local queue; nothing where the cluster has no Kueue")
    deadline: Duration = Field("24h", description="a step on a cluster is ended after this time")
    patience: Duration = Field("15m", description="how long a step waits for a place on a cluster")


class Replicas(Part):
    """How far an endpoint scales on a cluster."""

    min: int = Field(1, ge=1, description="replicas at rest")
    max: int | None = Field(None, ge=1, description="replicas under load; as many as at rest when not given")

    @model_validator(mode="after")
    def _in_order(self) -> "Replicas":
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}; it must be at least that")
        return self


class Canary(Part):
    """How a new release takes over on a cluster."""

    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        [10, 50, 100], min_length=1, description="percent of traffic at each step"
    )
    bake: Duration = Field("30s", description="time each step is watched")

    @model_validator(mode="after")
    def _rising(self) -> "Canary":
        if self.steps != sorted(set(self.steps)):
            raise ValueError(f"steps {self.steps} must rise, e.g. [10, 50, 100]")
        return self


class Slo(Part):
    """What the endpoint promises."""

    p99_ms: float = Field(50, gt=0, description="99th percentile of latency, milliseconds")
    error_rate: float = Field(0.001, ge=0, le=1, description="share of requests that may fail")


class ServingResources(Part):
    """What one replica may use on a cluster."""

    cpu: float = Field(1, gt=0, description="cores at most, and threads of one prediction")
    memory: str = Field("1Gi", pattern=MEMORY, description="memory limit")


class Serving(Part):
    """The endpoint of the winner."""

    endpoint: Name | None = Field(None, description="the endpoint's name; the experiment's when not given")
    runtime: Literal["auto", "onnx", "tensorflow"] = Field(
        "auto", description="auto: onnx if it is proved equal"
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="local port; the first free one when not given"
    )
    replicas: Replicas = Field(Replicas.model_validate({}), description="cluster scaling")
    canary: Canary | None = Field(None, description="gradual rollout on a cluster")
    decoding: Decoding | None = Field(
        None, description="how a text is chosen, of a model that writes one; greedily when not given"
    )
    detection: Detection | None = Field(
        None,
        description="which boxes are answered, of a model that finds some; those that score 0.5 when not given",
    )
    explain: bool = Field(
        False, description="requests with explain: true also tell what each input did to its prediction"
    )
    slo: Slo | None = Field(None, description="what the endpoint promises; a canary must keep it")
    resources: ServingResources = Field(
        ServingResources.model_validate({}), description="what one replica may use on a cluster"
    )

    @model_validator(mode="after")
    def _one_decoding(self) -> "Serving":
        if self.decoding is not None and self.detection is not None:
            raise ValueError("decoding is for texts and detection for boxes; leave one of the two out")
        return self

    @property
    def settings(self) -> Settings | None:
        """How texts or boxes are chosen."""
        return self.decoding or self.detection


class Experiment(Part):
    """One experiment file."""

    name: Name = Field(description="the experiment's name, in MLflow too")
    description: str = Field("", description="a sentence for people")
    data: Data = Field(description="where the rows come from")
    model: Model = Field(description="what is learned")
    training: Training = Field(Training.model_validate({}), description="how it is fitted")
    search: Search | None = Field(None, description="several trials; without it there is one")
    gate: Annotated[
        list[Criterion], BeforeValidator(_listed, json_schema_input_type=list[Criterion] | Criterion)
    ] = Field([], description="what a candidate must meet; not worse than the champion when not given")
    resources: Resources = Field(Resources.model_validate({}), description="what one step may use")
    serving: Serving = Field(Serving.model_validate({}), description="the endpoint")

    @model_validator(mode="after")
    def _can_spread(self) -> "Experiment":
        resources, training = self.resources, self.training
        try:
            require_spread(training.backend, resources.gpus, resources.nodes, training.batch_size)
        except OptionsError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return self.serving.endpoint or self.name

    def resolved(self, folder: Path) -> "Experiment":
        """The same experiment with every path made absolute against its file's folder."""
        data, model = self.data, self.model
        if data.source is not None and "://" not in data.source:
            data = data.model_copy(update={"source": str((folder / data.source).resolve())})
        if model.file is not None:
            model = model.model_copy(update={"file": str((folder / model.file).resolve())})
        return self.model_copy(update={"data": data, "model": model})
