"""One trial: its rows, its model, its log, and the files that it writes.

TensorFlow is imported here, for `steps.train`, and nowhere else in this package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.models.data.columns import concat
from tidegate.models.distributed.devices import (
    configure_backend,
    require_backend,
    require_equal_shares,
    require_gpus,
)
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.networks.heads.probabilities import require_probabilities
from tidegate.models.networks.keras_import import import_keras
from tidegate.models.networks.several_outputs import AnyOutputs
from tidegate.models.training.cross_validation import cross_validate
from tidegate.models.training.measures.pinball_loss import with_quantiles
from tidegate.models.training.recipe import Recipe, Rows
from tidegate.models.user_code.code_folder import FILES
from tidegate.pipelines.planning.kept_data import lay_out_file
from tidegate.pipelines.state.checkpoints import ReadOnlyKeeper, StoreKeeper, fold_key
from tidegate.pipelines.state.files_read import keep_files_read
from tidegate.pipelines.step_types.train import Trained, TrainInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.pipelines.steps.project import model_file
from tidegate.pipelines.steps.trials.attributions import explain_rows
from tidegate.pipelines.steps.trials.file_recorder import FileRecorder
from tidegate.pipelines.steps.trials.group import join_group
from tidegate.pipelines.steps.trials.pruning import pruned_place
from tidegate.pipelines.steps.trials.trial_checks import refuse_unused, show_class_weights
from tidegate.pipelines.steps.trials.trial_log import TrialLog, position
from tidegate.pipelines.steps.trials.trial_results import TrialResults
from tidegate.pipelines.steps.trials.trial_rows import TrialRows
from tidegate.pipelines.steps.trials.warm_start import scored_rows, warm_start

if TYPE_CHECKING:
    from tidegate.models.preprocessing.windows import ShuffleWindows
    from tidegate.models.training.checkpoint import TrainingProgress
    from tidegate.models.training.fit import History

ECE = ("validation_ece", "test_ece")


class Trial:
    """One trial while it is trained.

    Args:
        inputs: of the train step.
        context: of the train step.
        model: its options, with this trial's values.
        training: the experiment's, with this trial's values.
        log: where it is reported; None in every process of a group but the first.

    Raises:
        ModelsError: requested GPUs are missing, an option is wrong, a process of the group does not join.
    """

    def __init__(
        self,
        inputs: TrainInputs,
        context: StepContext,
        model: dict[str, Any],
        training: dict[str, Any],
        log: TrialLog | None,
    ) -> None:
        require_backend(training["backend"])
        require_equal_shares(training["backend"], inputs.gpus, inputs.nodes, training["batch_size"])
        configure_backend(training["backend"], context.home.compiled)
        self.group = join_group(inputs, context)
        if inputs.gpus:
            import_keras(own_code=inputs.code is not None)
            require_gpus(inputs.gpus)
        self.inputs, self.context, self._log = inputs, context, log
        self.seed, self._resumed = training["seed"], ""
        self.schema, self.transforms = read_contract(inputs.prepared, context.store)
        learned_by = {key: value for key, value in training.items() if key != "seed"}
        self.training = with_quantiles(learned_by, self.schema.target)
        self.weight: str | None = inputs.content["data"].get("weight")
        self.rows = TrialRows(context.store, inputs.prepared, self.schema, self.transforms, self.weight)
        file = model_file(inputs.code, context.work, model.get("file"))
        self.model_options = {**model, **({"file": file} if file else {})}
        if inputs.weights is not None:
            self.model_options["weights"] = str(lay_out_file(context.store, inputs.weights, context.work))
        # Without an identity training reaches none of the project: what `prepare` runs again here counts there.
        learned = inputs.code if inputs.code is not None and inputs.code.identity else None
        code = (context.work / FILES, Path(learned.folder)) if learned else None
        self._recorder = FileRecorder(code, context.home.path)
        target, text_target = self.schema.target, self.transforms.text_target
        show_class_weights(self.training["class_weights"], target.classes)
        tokens = text_target.spec.vocabulary if text_target else 0
        boxes = self.transforms.box_target
        grids = boxes.grids if boxes else ()
        self.recipe = Recipe(
            self.model_options,
            self.training,
            target,
            self.seed,
            warm_start(inputs, context),
            tokens,
            grids,
            inputs.stated,
            self.schema,
            self.rows.columns,
        )
        self.results = TrialResults(
            context, self.schema, self.transforms, self.recipe, self.rows.columns, inputs.decoding
        )
        refuse_unused(inputs, self.training, target.task)
        import_keras(own_code=inputs.code is not None)

    @property
    def head(self) -> AnyOutputs:
        """The model's outputs; compile() in the user's build may change them."""
        return self.recipe.head

    @property
    def log(self) -> TrialLog:
        """The trial's log; in the first process of a group only."""
        assert self._log is not None
        return self._log

    def _training_rows(self) -> Rows | ShuffleWindows:
        return self.rows.training(self.training["batch_size"], self.inputs.shuffle_buffer)

    def run(self, params: dict[str, Any]) -> Trained:
        """Train, evaluate and export.

        Args:
            params: the values searched, by dotted key.

        Raises:
            ModelsError: an option is wrong, the user's model fails, the loss is NaN.
            PipelineError: a file that the user's code reads was changed meanwhile.
        """
        with self._recorder.watching():
            return self._run(params)

    def _run(self, params: dict[str, Any]) -> Trained:
        rows = {split: self.rows.encoded(split) for split in ("validation", "test")}
        if self.inputs.explain:
            self.recipe.require_explainable(self.transforms)
        self.results.scored, told = scored_rows(self.inputs, self.context, len(rows["test"][1]))
        train = self._training_rows()
        self.log.begin(self.training["epochs"])
        model, history = self._train(train, rows["validation"])
        folds = self._cross_validate()
        results = self.results
        before = raw = results.raw_outputs(model, rows)
        require_probabilities(raw["test"], self.head.activation)
        thresholds = results.choose_thresholds(raw["validation"], rows["validation"])
        measured = results.metrics(raw, rows) | results.error_rate(model)
        temperature = results.calibrate(model, rows["validation"])
        if temperature is not None:
            raw = results.raw_outputs(model, rows)
            uncalibrated = {
                f"{name}_uncalibrated": measured.values[name] for name in ECE if name in measured.values
            }
            measured = results.metrics(raw, rows) | Evaluation.of(
                {**uncalibrated, "temperature": temperature}
            )
        measured |= folds
        if history.epsilon is not None:
            measured |= Evaluation.of({"epsilon": history.epsilon})
        report = results.report(raw["test"], before["test"], history, rows["test"][1])
        later = self.inputs.export_later
        if not later:
            report |= self._explain(model, rows["test"], report["facts"])
        files = results.files(model, raw["test"], report, later)
        answered = [-1, self.head.units] if self.transforms.text_target else list(raw["test"].shape[1:])
        requirements = [f"{name}=={version}" for name, version in self.inputs.versions.items()]
        pruned_at = pruned_place(self.inputs, self.training, history)
        self.log.results(
            measured,
            self.inputs.prepared,
            self.transforms,
            self.schema,
            files,
            answered,
            requirements,
            pruned_at if self.inputs.search is not None else None,
        )
        monitored = [epoch[history.monitor] for epoch in history.epochs]
        return Trained(
            id=self.context.id,
            index=self.inputs.index,
            keras=files.keras,
            onnx=files.onnx,
            export_error=files.export_error,
            reference=files.reference,
            report=files.report,
            probes=files.probes,
            exported=files.exported,
            cached=files.cached,
            events=self.log.store_events(),
            activation=self.head.activation,
            thresholds=thresholds,
            params=params,
            metrics=measured.values,
            undefined=measured.undefined,
            monitor=history.monitor,
            value=monitored[history.best_epoch],
            curve=monitored,
            pruned=bool(pruned_at),
            pruned_at=pruned_at,
            epochs=len(history.epochs),
            resumed=self._resumed,
            read=self._keep_files_read(),
            warnings=(*self._recorder.unwatched(self.context.home.target is not None), *told),
        )

    def _explain(self, model: Any, test: Rows, facts: dict[str, Any]) -> dict[str, Any]:
        """See `attributions.explain_rows`."""
        count = self.training["explain"]
        return explain_rows(model, self.schema, self.transforms, test, count, self.head.activation, facts)

    def _keep_files_read(self) -> dict[str, str]:
        """Path -> SHA-256 of what the user's code read so far; the next submit looks whether it is the same.

        In a pod these are files of the image, which the machine of the next submit does not have.
        """
        files = self._recorder.files()
        if files and self.inputs.code is not None and self.context.home.target is None:
            keep_files_read(self.context.store, self.inputs.code.identity, files)
        return files

    def run_follower(self) -> None:
        """Train only; see `steps.train.run_follower`."""
        with self._keeper(self.context.key, ReadOnlyKeeper) as keeper:
            self._fit(self._training_rows(), self.rows.encoded("validation"), keeper)

    def _train(self, train: Rows | ShuffleWindows, validation: Rows) -> tuple[Any, History]:
        callbacks = {
            "on_epoch": self.log.epoch,
            "on_batch": self.log.batch,
            "on_resume": self._on_resume,
            "on_loop": self.log.by_keras,
        }
        with self._keeper(self.context.key) as keeper:
            model, history = self._fit(train, validation, keeper, **callbacks)
        self.log.loop(self.training["backend"], history.xla, history.batches_a_call)
        return model, history

    def _fit(
        self, train: Rows | ShuffleWindows, validation: Rows, keeper: StoreKeeper, **callbacks: Any
    ) -> tuple[Any, History]:
        result = self.recipe.train(
            self.transforms,
            train,
            validation,
            weights=self.rows.weights("train"),
            validation_weights=self.rows.weights("validation"),
            checkpoints=keeper,
            medians=self.inputs.limits,
            gpus=self.inputs.gpus,
            group=self.group,
            **callbacks,
        )
        if self.group is not None:
            self.group.leave()
        return result

    @contextlib.contextmanager
    def _keeper(self, key: str, keeper_type: type[StoreKeeper] = StoreKeeper) -> Iterator[StoreKeeper]:
        """The keeper of the checkpoints under this key."""
        say = partial(print, flush=True)
        keeper = keeper_type(self.context.store, key, self.context.work, say, self._keep_files_read)
        # Without checkpoints nothing would check whether SIGTERM came.
        with keeper.listening() if self.training["checkpoint"] else contextlib.nullcontext():
            yield keeper

    def _cross_validate(self) -> Evaluation:
        """The metrics over the folds; none without cross-validation."""
        split = self.inputs.content["data"]["split"]
        if split["folds"] is None:
            return Evaluation()
        rows = self.inputs.prepared.summary["rows"]
        validation_rows, training_rows = rows["validation"], rows["train"]
        split = {**split, "validation": validation_rows / (training_rows + validation_rows)}
        split["weight"] = self.weight
        if self.schema.target.quantiles is not None:
            split["origins"] = self.rows.places()[: training_rows + validation_rows]
        columns = concat([self.rows.columns(part) for part in ("train", "validation")])
        keep = [fold_key(self.context.key, fold) for fold in range(split["folds"])]
        return cross_validate(
            self.recipe, self.schema, columns, split, lambda fold: self._keeper(keep[fold]), self.log.fold
        )

    def _on_resume(self, progress: TrainingProgress, batches: int) -> None:
        self._resumed = position(progress.epoch, progress.batch, batches)
        self.log.resumed(progress, batches)
