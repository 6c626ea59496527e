"""train: one trial. Leaves the Keras file, its ONNX export and its predictions of the held-out rows.

TensorFlow is imported here and nowhere else: every later step works from the files this one leaves.
"""

import json
import os
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.store import Ref
from models.callbacks import higher_is_better
from models.columns import load_columns
from models.devices import require_backend, require_gpus
from models.errors import ExportError, UserModelError
from models.metrics import evaluate, to_predictions
from models.outputs import outputs_for
from models.search import medians, suggest
from models.training import keras_backend
from models.transforms import encode_target
from pipelines.checkpoints import StoreKeeper
from pipelines.errors import in_words
from pipelines.load import with_values
from pipelines.steps import StepContext, StepPart
from pipelines.steps.prepare import Outputs as Prepared
from pipelines.trial_log import TrialLog, place, version_tags

if TYPE_CHECKING:
    from models.checkpoint import Progress
    from models.fit import History


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


class Inputs(StepPart):
    """One trial's data, model, training and, in a search, what earlier trials found."""

    run: str
    name: str
    index: int
    prepared: Prepared
    model: dict[str, Any]
    training: dict[str, Any]
    gpus: int
    snapshot: Ref | None
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
    except Exception as error:
        log.failed(in_words(error))
        raise


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
        log: TrialLog,
    ) -> None:
        require_backend(training["backend"])
        os.environ["KERAS_BACKEND"] = keras_backend(training["backend"])
        if inputs.gpus:
            require_gpus(inputs.gpus)
        self.inputs, self.context, self.log = inputs, context, log
        self.seed, self._resumed = training["seed"], ""
        self.training = {key: value for key, value in training.items() if key != "seed"}
        self.schema, self.transforms = inputs.prepared.contract(context)
        self.model_options = self._with_snapshot(model)
        target = self.schema.target
        self.head = outputs_for(target.task, len(target.classes), len(target.names), training["loss"])

    def _with_snapshot(self, model: dict[str, Any]) -> dict[str, Any]:
        """The user's model as it was at submit, whatever the file says by now."""
        if self.inputs.snapshot is None:
            return model
        path = self.context.work / Path(model["file"]).name
        shutil.copyfile(self.context.store.fetch(self.inputs.snapshot), path)
        return {**model, "file": str(path)}

    def _rows(self, split: str) -> tuple[dict[str, Any], Any]:
        """A split as the model sees it: inputs by name, and the encoded target."""
        columns = load_columns(self.context.store.fetch(getattr(self.inputs.prepared, split)))
        return self.transforms.apply(columns), encode_target(self.schema, columns)

    def run(self, params: dict[str, Any]) -> Outputs:
        from models.build import as_float32, build_model, pretrain
        from models.predict import predict

        rows = {split: self._rows(split) for split in ("train", "validation", "test")}
        precision = self.training["precision"]
        model = build_model(self.model_options, self.transforms.input_specs, self.head, self.seed, precision)
        pretrain(model, self.model_options, rows["train"][0], self.seed)
        history = self._fit(model, rows)
        model = as_float32(model, self.model_options, self.transforms.input_specs, self.head)
        raw = {split: predict(model, rows[split][0]) for split in ("validation", "test")}
        self._require_probabilities(raw["test"])
        metrics = self._metrics(raw, rows)
        files = self._files(model, raw["test"], history, rows["test"][1])
        units = self.head.units
        requirements = [f"{name}=={version}" for name, version in self.inputs.versions.items()]
        self.log.results(
            metrics, self.inputs.prepared, self.transforms, self.schema, files, units, requirements
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

    def _fit(self, model: Any, rows: dict[str, tuple[dict[str, Any], Any]]) -> "History":
        from models.fit import fit

        self.log.begin(self.training["epochs"])
        target, context = self.schema.target, self.context
        keeper = StoreKeeper(context.store, context.key, context.work, partial(print, flush=True))
        # Without checkpoints nobody would look whether SIGTERM came.
        with keeper.listening() if self.training["checkpoint"] else nullcontext():
            history = fit(
                model,
                rows["train"],
                rows["validation"],
                self.training,
                task=target.task,
                classes=target.classes,
                seed=self.seed,
                on_epoch=self.log.epoch,
                on_batch=self.log.batch,
                on_resume=self._went_on,
                keeper=keeper,
                medians=_medians(self.inputs),
            )
        self.log.loop(self.training["backend"], history.xla, history.batches_a_call)
        return history

    def _went_on(self, progress: "Progress", batches: int) -> None:
        self._resumed = place(progress.epoch, progress.batch, batches)
        self.log.resumed(progress, batches)

    def _require_probabilities(self, raw: Any) -> None:
        """A classifier's answers are told to people as probabilities: they must be some."""
        if self.head.activation == "linear":
            return
        sums = raw.sum(axis=1) if self.head.activation == "softmax" else np.ones(len(raw))
        if raw.min() < -1e-4 or raw.max() > 1 + 1e-4 or np.abs(sums - 1).max() > 1e-2:
            raise UserModelError(
                f"the model's outputs are no probabilities: they lie between {raw.min():.3g} and {raw.max():.3g}; "
                f"expected {self.head.activation} outputs, because the task is a classification; "
                "end build() with outputs.layer(x), or with that activation"
            )

    def _metrics(self, raw: dict[str, Any], rows: dict[str, tuple[dict[str, Any], Any]]) -> dict[str, float]:
        found: dict[str, float] = {}
        target = self.schema.target
        for split, answers in raw.items():
            if len(answers):
                predictions = to_predictions(answers, self.head.activation)
                values = evaluate(target.task, rows[split][1], predictions, target.classes, target.names)
                found |= {f"{split}_{name}": value for name, value in values.items()}
        return found

    def _files(self, model: Any, raw: Any, history: "History", truth: Any) -> dict[str, Any]:
        """Save everything later steps work from; a model that has no ONNX form says why."""
        from models.export import export_saved

        work, put = self.context.work, self.context.put
        model.save(work / "model.keras", include_optimizer=False)
        np.save(work / "reference.npy", raw)
        self._save_report(work / "report.npz", raw, history, truth)
        onnx, export_error = None, ""
        try:
            export_saved(model, work / "model.keras", work / "model.onnx", self.model_options.get("file"))
            onnx = put(work / "model.onnx")
        except ExportError as error:
            export_error = str(error)
        return {
            "keras": put(work / "model.keras"),
            "onnx": onnx,
            "export_error": export_error,
            "reference": put(work / "reference.npy"),
            "report": put(work / "report.npz"),
        }

    def _save_report(self, path: Path, raw: Any, history: "History", truth: Any) -> None:
        target = self.schema.target
        facts = {
            "task": target.task,
            "classes": target.classes,
            "names": target.names,
            "history": history.epochs,
        }
        np.savez(
            path,
            facts=np.array(json.dumps(facts)),
            y_true=truth,
            y_pred=to_predictions(raw, self.head.activation),
        )


def _medians(inputs: Inputs) -> list[float | None] | None:
    """The median rule's limits, once enough trials have run to the end."""
    pruning = inputs.search["pruning"] if inputs.search else None
    finished = [trial for trial in inputs.history if not trial.pruned]
    if pruning is None or len(finished) < pruning["minimum_trials"]:
        return None
    higher = higher_is_better(finished[0].monitor)
    return medians([trial.curve for trial in finished], pruning["warmup_epochs"], higher)
