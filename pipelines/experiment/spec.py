"""The experiment file: frozen, typed, and strict about unknown keys."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tidegate.models.config.training import Training as TrainingOptions
from tidegate.models.config.training_parts import OutputOptions
from tidegate.models.distributed.devices import require_equal_shares
from tidegate.models.errors import OptionsError
from tidegate.pipelines.experiment.automation.approval import Approval
from tidegate.pipelines.experiment.automation.schedule import Schedule, Trigger
from tidegate.pipelines.experiment.code import Code, Reference, references_in
from tidegate.pipelines.experiment.data import Data, are_outputs
from tidegate.pipelines.experiment.gate import Criterion, Gate, as_criteria
from tidegate.pipelines.experiment.notify import Notification
from tidegate.pipelines.experiment.part import MEMORY, Duration, Name, Part, as_list
from tidegate.pipelines.experiment.search import Search
from tidegate.pipelines.experiment.serving import Serving

# Keys of `Model` that are no options of what builds it.
NOT_OPTIONS = {"from_", "freeze", "trained", "answers", "classes", "weights"}


class Model(Part):
    """A built-in family, the user's own file or function, or a trained model; every other key is an option of it."""

    # Built for itself: it is dumped alone, and the experiment takes over what was built.
    model_config = ConfigDict(
        defer_build=False, frozen=True, extra="allow", protected_namespaces=(), serialize_by_alias=True
    )
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
    trained: str | None = Field(
        None,
        description="a trained model, which is proved, gated and served as if it had been trained here: a .keras or "
        ".onnx file, a SavedModel's folder, or of MLflow models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/PATH; its "
        "inputs get the columns as they are; `file` or `function` name the module of its own layers",
    )
    answers: str | None = Field(
        None,
        description="of a trained model: a file with its answers to each row of the data, in their order, as its own "
        "framework gave them (.npy, .npz, or a table); the served model must give them",
    )
    classes: list[bool | int | str] | None = Field(
        None,
        min_length=2,
        description="of a trained model: the classes in the order of its outputs; as its file says, or sorted, when "
        "not given",
    )
    weights: str | None = Field(
        None,
        description="a file of pretrained weights, here or s3://BUCKET/KEY, gs://…, az://…; build() gets its local "
        "path as the option `weights`",
    )
    from_: str | None = Field(
        None,
        alias="from",
        description="a run's id, or an experiment's name for its newest run: training starts from the "
        "weights of its winner; a last layer of another shape starts from new ones. Or a .keras file, models:/… or "
        "runs:/… of MLflow, or a .weights.h5 file, which Keras wrote for this very model",
    )
    freeze: Annotated[list[str], BeforeValidator(as_list, json_schema_input_type=list[str] | str)] | None = (
        Field(
            None, description="names of that model's layers whose weights stay as they are, such as conv2d*"
        )
    )

    @property
    def options(self) -> dict[str, Any]:
        """What the model is built from."""
        return self.model_dump(mode="json", exclude_none=True, exclude=NOT_OPTIONS)

    def problems(self) -> Iterator[str]:
        yield from self._problems_of_trained() if self.trained is not None else self._problems_of_source()
        if self.freeze and self.from_ is None:
            yield "freeze keeps layers of an earlier run; say which one: from: RUN"
        if self.from_ is not None and self.options.get("pretrain"):
            yield "from starts with trained weights, and pretrain would be lost; leave one of the two out"

    def _problems_of_source(self) -> Iterator[str]:
        given = [name for name in ("family", "file", "function") if getattr(self, name) is not None]
        if len(given) != 1:
            yield (
                "give either family (e.g. mlp), file (./my_model.py), function (package.module:build) or trained "
                f"(./model.keras); received {' and '.join(given) or 'none of them'}"
            )
        for key in ("answers", "classes"):
            if getattr(self, key) is not None:
                yield f"{key} is for a trained model; say which one: trained: ./model.keras"
        if self.weights is not None and self.family is not None:
            yield "weights is for a build() of yours, which loads them; name its file or function, or leave weights out"

    def _problems_of_trained(self) -> Iterator[str]:
        given = [key for key in ("family", "from_", "freeze", "weights") if getattr(self, key) is not None]
        for key in [*given, *(self.model_extra or ())]:
            yield f"{key.rstrip('_')} is for a model that is trained here, and trained names one that is; leave it out"

    def resolved(self, folder: Path) -> "Model":
        """The same with every path made absolute."""
        paths = {key: getattr(self, key) for key in ("file", "answers", "trained", "weights")}
        if self.from_ is not None and Path(self.from_).suffix in (".keras", ".h5"):
            paths["from_"] = self.from_
        found = {
            key: str((folder / path).resolve())
            for key, path in paths.items()
            if path is not None and not ADDRESS.match(path)
        }
        return self.model_copy(update=found)


# Where a model or its weights are that are no file here: models:/…, runs:/…, s3://…, gs://…
ADDRESS = re.compile(r"[a-z0-9]+:/")


class Training(TrainingOptions):
    """How the model is fitted, and with which random seed."""

    seed: int = Field(7, ge=0, description="seed of initial weights, order of batches and dropout")


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

    model_config = ConfigDict(defer_build=False)

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
        for name, found in learned.items():
            twice = [key for key in found if key in known.get(name, {})]
            if twice:
                raise ValueError(
                    f"data.target.{name} and training.outputs.{name} both have {', '.join(twice)}; expected one of the "
                    "two; leave one out"
                )
        outputs = {name: {**found, **known.get(name, {})} for name, found in learned.items()}
        outputs |= {name: found for name, found in known.items() if name not in outputs}
        training["outputs"] = {name: found for name, found in outputs.items() if found} or None
        return {**document, "data": {**data, "target": target}, "training": training}

    name: Name = Field(description="the experiment's name, in MLflow too")
    description: str = Field("", description="a sentence for people")
    code: Code = Field(Code.model_construct(), description="the project whose functions and files are used")
    data: Data = Field(description="where the rows come from")
    model: Model = Field(description="the model to train")
    training: Training = Field(Training.model_construct(), description="how it is fitted")
    search: Search | None = Field(None, description="several trials; without it there is one")
    gate: Annotated[
        Gate,
        BeforeValidator(
            as_criteria,
            json_schema_input_type=list[Criterion | Approval] | Criterion | Approval | Literal["none"],
        ),
    ] = Field(
        [],
        description="what a candidate must meet; when not given: not worse than the champion, and for a first release "
        "better than guessing; none: nothing",
    )
    resources: Resources = Field(Resources.model_construct(), description="what one step may use")
    serving: Serving = Field(Serving.model_construct(), description="the endpoint")
    notify: Annotated[
        list[Notification],
        BeforeValidator(as_list, json_schema_input_type=list[Notification] | Notification),
    ] = Field([], description="who is told how a run ended; no part of a run's identity")
    schedule: Schedule | None = Field(
        None, description="when it runs again; set by `submit --schedule`, and no part of a run's identity"
    )
    trigger: Annotated[
        list[Trigger], BeforeValidator(as_list, json_schema_input_type=list[Trigger] | Trigger)
    ] = Field([], description="what it runs again for; set and counted as schedule is")

    def problems(self) -> Iterator[str]:
        resources, training = self.resources, self.training
        try:
            require_equal_shares(training.backend, resources.gpus, resources.nodes, training.batch_size)
        except OptionsError as error:
            yield str(error)
        if self.search is not None and self.search.pack != 1 and resources.nodes > 1:
            yield (
                f"search.pack is {self.search.pack} and resources.nodes is {resources.nodes}; expected pack 1, as each "
                "trial has several pods of its own; leave search.pack out"
            )
        if not isinstance(self.gate, str) and sum(isinstance(one, Approval) for one in self.gate) > 1:
            yield "gate has several entries with approval; expected one; write the number of people in it"
        kinds = [trigger.kind for trigger in self.trigger]
        for kind in dict.fromkeys(kind for kind in kinds if kinds.count(kind) > 1):
            yield f"trigger has {kinds.count(kind)} entries with {kind}; expected one; leave the others out"
        pruning = self.search.pruning if self.search is not None else None
        if pruning is not None and self.search is not None and "training.epochs" not in self.search.space:
            yield from pruning.rungless(training.epochs)
        if self.model.trained is not None:
            yield from self._not_trained_here()
        usual = Code.model_construct()
        stated = [key for key in Code.model_fields if getattr(self.code, key) != getattr(usual, key)]
        if stated and self.model.file is None and not references_in(self.model_dump(mode="json")):
            yield (
                f"code has {', '.join(stated)}, and nothing of a project is used; expected a reference such as "
                "model.function: my_model:build, or model.file; name one, or leave code out"
            )

    def _not_trained_here(self) -> Iterator[str]:
        """What has no effect on a trained model."""
        usual = Training.model_construct()
        stated = [
            key
            for key in Training.model_fields
            if key not in ("loss", "metrics") and getattr(self.training, key) != getattr(usual, key)
        ]
        if stated:
            yield (
                f"training has {', '.join(stated)}, and model.trained is trained already; expected loss and "
                "metrics at most; leave the others out"
            )
        if self.search is not None:
            yield "search is for models that are trained here, and model.trained is trained already; leave it out"
        for key, beside in {"anomaly": self.data.anomaly, "forecast": self.data.forecast}.items():
            if beside is not None:
                yield f"data.{key} is for models trained here, and model.trained is trained already; leave it out"
        if self.data.split.folds is not None:
            yield "data.split.folds trains further models, and model.trained is trained already; leave it out"
        if (self.resources.gpus, self.resources.nodes) != (0, 1):
            yield (
                "resources.gpus and nodes are for training, and model.trained is trained already; leave them out"
            )
        if self.data.stream is True:
            yield "data.stream is for training, and model.trained is trained already; leave it out"
        if self.serving.explain:
            yield "serving.explain is for models that are trained here; leave it out, or train the model here"
        for entry in self.data.inputs or ():
            if entry.scale not in (None, "none") or entry.missing == "own":
                yield (
                    f"data.inputs: {entry.name} has a scale or missing: own, and model.trained gets its inputs as they "
                    "are; leave it out"
                )

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return self.serving.endpoint or self.name

    def resolved(self, folder: Path) -> "Experiment":
        """The same experiment with every path made absolute against its file's folder."""
        data, model, code = self.data.resolved(folder), self.model.resolved(folder), self.code
        if (
            model.file is not None
            or code != Code.model_construct()
            or references_in(self.model_dump(mode="json"))
        ):
            code = code.resolved(folder, model.file)
        return self.model_copy(update={"data": data, "model": model, "code": code})
