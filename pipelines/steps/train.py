"""train: one trial. Leaves the Keras file, its ONNX export and its predictions of the held-out rows.

TensorFlow is imported here and nowhere else: every later step works from the files this one leaves.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.store import Ref
from models.callbacks import higher_is_better
from models.columns import Columns, concat, load_columns
from models.decoding.settings import Settings
from models.devices import require_backend, require_gpus, require_spread
from models.errors import MemberLostError, OptionsError, UserModelError
from models.folds import cross_validate
from models.group import Group, join, member_here
from models.recipe import Recipe, Rows
from models.search import medians, suggest
from models.training import keras_backend, seconds
from models.transfer import Start
from pipelines.checkpoints import Follower, StoreKeeper
from pipelines.errors import in_words
from pipelines.load import with_values
from pipelines.steps import StepContext, StepPart
from pipelines.steps.prepare import Outputs as Prepared
from pipelines.trial_log import TrialLog, place, version_tags
from pipelines.trial_results import TrialResults

if TYPE_CHECKING:
    from models.checkpoint import Progress
    from models.fit import History
    from models.windows import Windows


class Outputs(StepPart):
    """A trained, evaluated model.

    Attributes:
        id: the trial's step id; its spool has the same name.
        index: number of the trial.
        keras: the model as Keras saves it.
        onnx: its ONNX export, or None with the reason in `export_error`.
        reference: raw predictions of the test rows by the process that trained, float32 (rows, units), .npy.
        report: history and predictions for the pictures, .npz.
        activation: of the model's last layer.
        params: the values searched, by dotted key.
        metrics: test_* and validation_* of the whole split.
        monitor: the epoch's value that the search optimises and the median rule watches.
        value: its best value.
        curve: its value after each epoch.
        events: what the trial told MLflow, for another run that uses it too.
        pruned: whether the median rule stopped it.
        resumed: the place it went on from after it was killed, in words; "" where it was not.
    """

    id: str
    index: int
    keras: Ref
    onnx: Ref | None
    export_error: str
    reference: Ref
    report: Ref
    events: Ref
    activation: str
    params: dict[str, Any]
    metrics: dict[str, float]
    monitor: str
    value: float
    curve: list[float]
    pruned: bool
    epochs: int
    resumed: str = ""


class Earlier(StepPart):
    """The run that training begins with; see `models.transfer.Start`."""

    run: str
    keras: Ref
    transforms: Ref
    freeze: list[str]


class Inputs(StepPart):
    """One trial's data, model, training, how texts or boxes are chosen and, in a search, what earlier trials found.

    `explain` says that the winner is to be explained: what could not be is refused before it is trained.
    """

    run: str
    name: str
    index: int
    prepared: Prepared
    shuffle_buffer: int | None = None
    model: dict[str, Any]
    training: dict[str, Any]
    gpus: int
    nodes: int = 1
    member_timeout: str = "10m"
    start: Earlier | None = None
    snapshot: Ref | None
    decoding: Settings | None = None
    explain: bool = False
    search: dict[str, Any] | None
    history: list[Outputs]
    content: dict[str, Any]
    versions: dict[str, str]
    tags: dict[str, str]


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Train one trial.

    Raises:
        ModelsError: GPUs asked for are not there, an option is wrong, the user's model fails, the loss is NaN.
    """
    params = _suggest(inputs)
    chosen = with_values({"model": inputs.model, "training": inputs.training}, params)
    content = with_values(inputs.content, params)
    tags = inputs.tags | version_tags(inputs.versions)
    log = TrialLog(context, inputs.run, inputs.name, inputs.index, content, tags)
    try:
        return _Trial(inputs, context, chosen["model"], chosen["training"], log).run(params)
    except UserModelError as error:
        told = str(error).replace(str(context.work), str(Path(inputs.model.get("file", "")).parent))
        log.failed(told)
        raise UserModelError(told) from error
    except MemberLostError:
        raise  # all of them start again, and the trial goes on
    except Exception as error:
        log.failed(in_words(error))
        raise


def follow(inputs: Inputs, context: StepContext) -> None:
    """Train the same trial as another process of its group does, which alone tells of it and keeps it.

    Raises:
        ModelsError: see `run`.
    """
    chosen = with_values({"model": inputs.model, "training": inputs.training}, _suggest(inputs))
    _Trial(inputs, context, chosen["model"], chosen["training"], None).follow()


def _suggest(inputs: Inputs) -> dict[str, Any]:
    if inputs.search is None:
        return {}
    history = [{"params": trial.params, "value": trial.value} for trial in inputs.history]
    direction = "maximize" if history and higher_is_better(inputs.history[0].monitor) else "minimize"
    return suggest({**inputs.search, "direction": direction}, inputs.index, history)


class _Trial:
    """Everything that lives while one trial is trained."""

    def __init__(
        self,
        inputs: Inputs,
        context: StepContext,
        model: dict[str, Any],
        training: dict[str, Any],
        log: TrialLog | None,
    ) -> None:
        require_backend(training["backend"])
        require_spread(training["backend"], inputs.gpus, inputs.nodes, training["batch_size"])
        os.environ["KERAS_BACKEND"] = keras_backend(training["backend"])
        if (
            training["backend"] == "torch"
        ):  # else its threads spin for each other: three times slower on a busy machine
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.group = _group(inputs, context)
        if inputs.gpus:
            require_gpus(inputs.gpus)
        self.inputs, self.context, self._log = inputs, context, log
        self.seed, self._resumed = training["seed"], ""
        self.training = {key: value for key, value in training.items() if key != "seed"}
        self.schema, self.transforms = inputs.prepared.contract(context)
        self.model_options = self._with_snapshot(model)
        target, answers = self.schema.target, self.transforms.answers
        tokens = answers.spec.vocabulary if answers else 0
        boxes = self.transforms.boxes
        grids = boxes.grids if boxes else ()
        self.recipe = Recipe(
            self.model_options, self.training, target, self.seed, self._start(), tokens, grids
        )
        self.head = self.recipe.head
        self.results = TrialResults(
            context, self.schema, self.transforms, self.recipe, self._columns, inputs.decoding
        )
        if answers or boxes:
            self._require_plain("a text" if answers else "boxes")

    @property
    def log(self) -> TrialLog:
        """What is told of the trial; by the first process of a group only."""
        assert self._log is not None
        return self._log

    def _require_plain(self, target: str) -> None:
        """Refuse what is made for one answer a row, and not for one a token or a box."""
        keys = ["calibration", "privacy", "explain", *(["class_weights"] if target == "boxes" else [])]
        asked = {f"training.{key}": self.training[key] for key in keys}
        asked["data.split.folds"] = self.inputs.content["data"]["split"].get("folds")
        asked["serving.explain"] = self.inputs.explain
        for name, value in asked.items():
            if value:
                raise OptionsError(
                    f"Option {name!r} is set, and the target is {target}. Leave it out; it is not for "
                    f"{'texts' if self.transforms.answers else 'boxes'}."
                )

    def _with_snapshot(self, model: dict[str, Any]) -> dict[str, Any]:
        """The user's model as it was at submit, whatever the file says by now."""
        if self.inputs.snapshot is None:
            return model
        path = self.context.work / Path(model["file"]).name
        shutil.copyfile(self.context.store.fetch(self.inputs.snapshot), path)
        return {**model, "file": str(path)}

    def _start(self) -> Start | None:
        earlier, fetch = self.inputs.start, self.context.store.fetch
        if earlier is None:
            return None
        transforms = json.loads(fetch(earlier.transforms).read_bytes())
        code = self.model_options.get("file")
        return Start(
            earlier.run, fetch(earlier.keras), transforms, earlier.freeze, Path(code) if code else None
        )

    def _rows(self, split: str) -> Rows:
        """A split as the model sees it: inputs by name, and the encoded target."""
        columns = self._columns(split)
        return self.transforms.apply(columns), self.transforms.target(self.schema, columns)

    def _columns(self, split: str) -> Columns:
        return load_columns(self.context.store.fetch(getattr(self.inputs.prepared, split)))

    def _training_rows(self) -> "Rows | Windows":
        prepared = self.inputs.prepared
        if prepared.memory is None:
            return self._rows("train")
        from models.windows import Windows

        paths = [self.context.store.fetch(shard) for shard in prepared.shards]
        classes = self.schema.target.classes
        counts = np.array([prepared.summary["classes"][str(name)]["train"] for name in classes], np.int64)
        batch, buffer = self.training["batch_size"], self.inputs.shuffle_buffer
        windows = Windows(paths, self.schema, self.transforms, counts, prepared.memory, batch, buffer)
        print(
            f"streamed: {windows.rows} rows in {len(paths)} shards, {windows.size} at a time in memory",
            flush=True,
        )
        return windows

    def run(self, params: dict[str, Any]) -> Outputs:
        rows = {split: self._rows(split) for split in ("validation", "test")}
        if self.inputs.explain:
            self.recipe.require_explainable(self.transforms)
        train = self._training_rows()
        self.log.begin(self.training["epochs"])
        model, history = self._learn(train, rows["validation"])
        folds = self._cross_validate()
        results = self.results
        before = raw = results.answers(model, rows)
        results.require_probabilities(raw["test"])
        metrics = results.metrics(raw, rows) | results.error_rate(model)
        temperature = self._calibrate(model, rows["validation"])
        if temperature is not None:
            raw = results.answers(model, rows)
            changed = {f"{split}_ece_uncalibrated": metrics[f"{split}_ece"] for split in raw}
            metrics = {**results.metrics(raw, rows), **changed, "temperature": temperature}
        metrics |= folds
        if history.epsilon is not None:
            metrics["epsilon"] = history.epsilon
        report = results.report(raw["test"], before["test"], history, rows["test"][1])
        report |= results.explained(model, rows["test"], report["facts"])
        files = results.files(model, raw["test"], report)
        answered = [-1, self.head.units] if self.transforms.answers else list(raw["test"].shape[1:])
        requirements = [f"{name}=={version}" for name, version in self.inputs.versions.items()]
        self.log.results(
            metrics, self.inputs.prepared, self.transforms, self.schema, files, answered, requirements
        )
        monitored = [epoch[history.monitor] for epoch in history.epochs]
        return Outputs(
            id=self.context.id,
            index=self.inputs.index,
            **files,
            events=self.log.kept(),
            activation=self.head.activation,
            params=params,
            metrics=metrics,
            monitor=history.monitor,
            value=monitored[history.best_epoch],
            curve=monitored,
            pruned=history.stopped == "pruned",
            epochs=len(history.epochs),
            resumed=self._resumed,
        )

    def follow(self) -> None:
        with self._keeping(self.context.key, Follower) as keeper:
            self._trained(self._training_rows(), self._rows("validation"), keeper)

    def _learn(self, train: "Rows | Windows", validation: Rows) -> tuple[Any, "History"]:
        told = {"on_epoch": self.log.epoch, "on_batch": self.log.batch, "on_resume": self._went_on}
        with self._keeping(self.context.key) as keeper:
            model, history = self._trained(train, validation, keeper, **told)
        self.log.loop(self.training["backend"], history.xla, history.batches_a_call)
        return model, history

    def _trained(
        self, train: "Rows | Windows", validation: Rows, keeper: StoreKeeper, **told: Any
    ) -> tuple[Any, "History"]:
        result = self.recipe.learn(
            self.transforms,
            train,
            validation,
            keeper=keeper,
            medians=_medians(self.inputs),
            gpus=self.inputs.gpus,
            group=self.group,
            **told,
        )
        if self.group is not None:
            self.group.leave()
        return result

    @contextlib.contextmanager
    def _keeping(self, key: str, keeper_type: type[StoreKeeper] = StoreKeeper) -> Iterator[StoreKeeper]:
        """Who keeps a training's checkpoints under this key."""
        keeper = keeper_type(self.context.store, key, self.context.work, partial(print, flush=True))
        # Without checkpoints nobody would look whether SIGTERM came.
        with keeper.listening() if self.training["checkpoint"] else contextlib.nullcontext():
            yield keeper

    def _cross_validate(self) -> dict[str, float]:
        """The metrics over the folds, where there are any."""
        split = self.inputs.content["data"]["split"]
        if split["folds"] is None:
            return {}
        steering, learned = (self.inputs.prepared.summary["rows"][part] for part in ("validation", "train"))
        split = {**split, "validation": steering / (learned + steering)}
        columns = concat([self._columns(part) for part in ("train", "validation")])
        keep = [f"{self.context.key}-fold-{fold}" for fold in range(split["folds"])]
        return cross_validate(
            self.recipe, self.schema, columns, split, lambda fold: self._keeping(keep[fold]), self.log.fold
        )

    def _went_on(self, progress: "Progress", batches: int) -> None:
        self._resumed = place(progress.epoch, progress.batch, batches)
        self.log.resumed(progress, batches)

    def _calibrate(self, model: Any, validation: Rows) -> float | None:
        """The temperature that is now in the model's last layer, or None."""
        temperature = self.recipe.calibrate(model, validation)
        if self.training["calibration"] is not None:
            told = "the validation rows tell none" if temperature is None else f"{temperature:.4g}"
            print(f"calibration: temperature {told}", flush=True)
        return temperature


def _group(inputs: Inputs, context: StepContext) -> Group | None:
    """The other processes of this trial, once all are here; None where there are none."""
    member = member_here()
    if member.size != inputs.nodes:
        raise OptionsError(
            f"resources.nodes is {inputs.nodes} and this process is one of {member.size}. Expected an executor that "
            "starts as many: local, or a Kubernetes target. Or set resources.nodes: 1."
        )
    if member.size == 1:
        return None
    return join(
        member, seconds(inputs.member_timeout), lambda words: context.last_words(MemberLostError(words))
    )


def _medians(inputs: Inputs) -> list[float | None] | None:
    """The median rule's limits, once enough trials have run to the end."""
    pruning = inputs.search["pruning"] if inputs.search else None
    finished = [trial for trial in inputs.history if not trial.pruned]
    if pruning is None or len(finished) < pruning["minimum_trials"]:
        return None
    higher = higher_is_better(finished[0].monitor)
    return medians([trial.curve for trial in finished], pruning["warmup_epochs"], higher)
