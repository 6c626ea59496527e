"""The experiment file: frozen, typed, and strict about unknown keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tidegate.models.config.training import OutputOptions
from tidegate.models.config.training import Training as TrainingOptions
from tidegate.models.distributed.devices import require_equal_shares
from tidegate.models.errors import OptionsError
from tidegate.pipelines.experiment.code import Code, Reference, references_in
from tidegate.pipelines.experiment.data import Data, are_outputs
from tidegate.pipelines.experiment.gate import Criterion, Gate, as_criteria
from tidegate.pipelines.experiment.part import MEMORY, Duration, Name, Part, as_list
from tidegate.pipelines.experiment.serving import Serving


class Model(Part):
    """A built-in family, or the user's own file or function; every other key is an option of it."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=(), serialize_by_alias=True)
    family: str | None = Field(None, description="a built-in model family")
    file: str | None = Field(
        None,
        description="a Python file that defines build(inputs, outputs, **options); inputs: keras tensors by name, "
        "single numbers (mean 0, deviation 1) and categories (0 or 1) joined in 'features', images 0 to 1, or as "
        "stored with scale: none; inputs.columns: each column alone; print(inputs) shows names, shapes, dtypes, ranges",
    )
    function: Reference | None = Field(
        None,
        description="a reference such as churn.models.net:build to a function like build of `file`, in a module of the "
        "project, see code",
    )
    from_: str | None = Field(
        None,
        alias="from",
        description="a run's id, or an experiment's name for its newest run: training starts from the "
        "weights of its winner; a last layer of another shape starts from new ones",
    )
    freeze: Annotated[list[str], BeforeValidator(as_list, json_schema_input_type=list[str] | str)] | None = (
        Field(
            None, description="names of that model's layers whose weights stay as they are, such as conv2d*"
        )
    )

    @property
    def options(self) -> dict[str, Any]:
        """What the model is built from."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"from_", "freeze"})

    def problems(self) -> Iterator[str]:
        given = [name for name in ("family", "file", "function") if getattr(self, name) is not None]
        if len(given) != 1:
            yield (
                "give either family (e.g. mlp), file (./my_model.py) or function (package.module:build); received "
                f"{' and '.join(given) or 'none of them'}"
            )
        if self.freeze and self.from_ is None:
            yield "freeze keeps layers of an earlier run; say which one: from: RUN"
        if self.from_ is not None and self.options.get("pretrain"):
            yield "from starts with trained weights, and pretrain would be lost; leave one of the two out"


class Training(TrainingOptions):
    """How the model is fitted, and with which random seed."""

    seed: int = Field(7, ge=0, description="seed of initial weights, order of batches and dropout")


class Pruning(Part):
    """Stop a trial whose validation loss is worse than the median of earlier trials."""

    warmup_epochs: int = Field(3, ge=0, description="epochs before a trial can be stopped")
    minimum_trials: int = Field(4, ge=1, description="finished trials needed before a trial can be stopped")


class Search(Part):
    """Several trials over a space of hyperparameters."""

    method: Literal["grid", "random", "tpe"] = Field("tpe", description="how the next trial is chosen")
    trials: int | None = Field(
        None,
        ge=1,
        description="number of trials; of a grid at most its size, and the whole grid when not given",
    )
    parallelism: int = Field(1, ge=1, description="trials that may run at once")
    seed: int = Field(0, ge=0, description="seed of the sampler")
    pruning: Pruning | None = Field(Pruning.model_validate({}), description="null lets every trial finish")
    space: dict[str, Any] = Field(description="dotted key of the experiment -> {low, high, log} or choices")

    def problems(self) -> Iterator[str]:
        if not self.space:
            yield (
                "space is empty; name at least one key, e.g. training.optimizer.learning_rate: "
                "{low: 0.001, high: 0.1, log: true}"
            )
        for key in self.space:
            if key.split(".")[0] not in ("model", "training"):
                yield f'space key "{key}" must begin with model. or training.'
        if self.method != "grid" and self.trials is None:
            yield f"trials is missing; {self.method} needs a number of trials, e.g. trials: 8"


class Resources(Part):
    """What one step may use."""

    cpu: float = Field(2, gt=0, description="cores")
    memory: str = Field("4Gi", pattern=MEMORY, description="memory limit")
    gpus: int = Field(0, ge=0, description="GPUs a train step must see, or it fails")
    nodes: int = Field(
        1,
        ge=1,
        description="processes of a train step, each with its own GPUs; on a cluster each is a pod",
    )
    member_timeout: Duration = Field(
        "10m",
        description="a train step of several nodes fails when one of them does not start, or makes no progress, "
        "for this long",
    )
    gpu_resource: str = Field("nvidia.com/gpu", description="the device plugin's name of a GPU, on a cluster")
    node_selector: dict[str, str] = Field({}, description="labels of the cluster nodes that it may run on")
    tolerations: list[dict[str, Any]] = Field([], description="Kubernetes tolerations, on a cluster")
    priority_class: str = Field("", description="Kubernetes PriorityClass, on a cluster")
    queue: str = Field("", description="Kueue's local queue; empty where the cluster has no Kueue")
    deadline: Duration = Field("24h", description="a step on a cluster is stopped after this time")
    patience: Duration = Field("15m", description="how long a step waits to be scheduled on a cluster")


class Experiment(Part):
    """One experiment file."""

    @model_validator(mode="before")
    @classmethod
    def _outputs_in_training(cls, document: Any) -> Any:
        """What `data.target` says of how each output is learned stands in `training.outputs`, which prepare ignores."""
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, dict) or not are_outputs(data.get("target")):
            return document
        learned, target = {}, {}
        for name, stated in data["target"].items():
            options = dict(stated or {})
            learned[name] = {key: options.pop(key) for key in OutputOptions.model_fields if key in options}
            target[name] = options
        training = dict(document.get("training") or {})
        known = training.get("outputs") or {}
        outputs = {name: {**found, **known.get(name, {})} for name, found in learned.items()}
        training["outputs"] = {name: found for name, found in outputs.items() if found} or None
        return {**document, "data": {**data, "target": target}, "training": training}

    name: Name = Field(description="the experiment's name, in MLflow too")
    description: str = Field("", description="a sentence for people")
    code: Code = Field(Code.model_validate({}), description="the project whose functions and files are used")
    data: Data = Field(description="where the rows come from")
    model: Model = Field(description="the model to train")
    training: Training = Field(Training.model_validate({}), description="how it is fitted")
    search: Search | None = Field(None, description="several trials; without it there is one")
    gate: Annotated[
        Gate,
        BeforeValidator(as_criteria, json_schema_input_type=list[Criterion] | Criterion | Literal["none"]),
    ] = Field(
        [],
        description="what a candidate must meet; when not given: not worse than the champion, and for a first release "
        "better than guessing; none: nothing",
    )
    resources: Resources = Field(Resources.model_validate({}), description="what one step may use")
    serving: Serving = Field(Serving.model_validate({}), description="the endpoint")

    def problems(self) -> Iterator[str]:
        resources, training = self.resources, self.training
        try:
            require_equal_shares(training.backend, resources.gpus, resources.nodes, training.batch_size)
        except OptionsError as error:
            yield str(error)

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return self.serving.endpoint or self.name

    def resolved(self, folder: Path) -> "Experiment":
        """The same experiment with every path made absolute against its file's folder."""
        data, model, code = self.data.resolved(folder), self.model, self.code
        if model.file is not None:
            model = model.model_copy(update={"file": str((folder / model.file).resolve())})
        if (
            model.file is not None
            or code != Code.model_validate({})
            or references_in(self.model_dump(mode="json"))
        ):
            code = code.resolved(folder, model.file)
        return self.model_copy(update={"data": data, "model": model, "code": code})
