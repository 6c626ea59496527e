"""The results of a trained model: its outputs for the held-out rows, its metrics, and its files."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.store import Ref
from tidegate.infra.system.strict_json import strict_json
from tidegate.models.data.columns import Columns, take
from tidegate.models.decoding.settings import (
    DEFAULT_DECODING,
    DEFAULT_DETECTION,
    Decoding,
    DecodingSettings,
    Detection,
)
from tidegate.models.evaluation.evaluation import NAMES, Evaluation
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.target.anomalies import known_anomalies
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import Answering, KerasAnswers
from tidegate.models.training.anomaly_threshold import choose_limit
from tidegate.models.training.label_thresholds import choose_thresholds
from tidegate.models.training.recipe import Recipe, Rows
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.trials.exports import ModelFiles, export_model, put_probes

if TYPE_CHECKING:
    from tidegate.models.training.fit import History


class TrialFiles(NamedTuple):
    """The files for later steps; see `step_types.train.Trained`."""

    keras: Ref | None
    onnx: Ref | None
    export_error: str
    reference: Ref
    report: Ref
    probes: Ref | None
    exported: bool
    cached: Ref | None


class TrialResults:
    """Evaluates and stores the model of one trial.

    Args:
        context: of the step that outputs the files.
        schema, transforms: of the rows.
        recipe: how the model was made.
        columns: returns a split's raw rows.
        decoding: how texts or boxes are chosen; None: the defaults.
    """

    def __init__(
        self,
        context: StepContext,
        schema: Schema,
        transforms: Transforms,
        recipe: Recipe,
        columns: Callable[[str], Columns],
        decoding: DecodingSettings | None,
    ) -> None:
        self._context, self._schema, self._transforms = context, schema, transforms
        self._recipe, self._all_columns, self._decoding = recipe, columns, decoding
        self.scored: NDArray[np.bool_] | None = (
            None  # the test rows that metrics and figures are of; None: all
        )

    def _columns(self, split: str) -> Columns:
        """The rows of a split that are scored."""
        columns = self._all_columns(split)
        return (
            columns if self.scored is None or split != "test" else take(columns, np.flatnonzero(self.scored))
        )

    def _of_scored(self, split: str, array: Any) -> Any:
        return array if self.scored is None or split != "test" else array[self.scored]

    def raw_outputs(self, model: Any, rows: dict[str, Rows]) -> dict[str, Any]:
        """Raw predictions of each held-out split, or `token_probabilities` for texts; later steps compare with them."""
        from tidegate.models.networks.predict import predict

        if self._transforms.text_target is None:
            return {split: predict(model, rows[split][0]) for split in ("validation", "test")}
        from tidegate.models.evaluation.text_metrics import token_probabilities

        return {
            split: token_probabilities(partial(predict, model), *rows[split])
            for split in ("validation", "test")
        }

    def error_rate(self, model: Any) -> Evaluation:
        """See `evaluation.text_metrics.error_rate`, for each split; none if the target is not text."""
        if self._transforms.text_target is None:
            return Evaluation()
        from tidegate.models.evaluation.text_metrics import error_rate
        from tidegate.models.networks.predict import predict

        found = Evaluation()
        for split in ("validation", "test"):
            decoding = self._decoding if isinstance(self._decoding, Decoding) else DEFAULT_DECODING
            run, columns = partial(predict, model), self._columns(split)
            rate = error_rate(run, self._schema, self._transforms, columns, decoding)
            found |= rate.prefixed(f"{split}_")
        return found

    def metrics(self, raw: dict[str, Any], rows: dict[str, Rows]) -> Evaluation:
        """The `test_*` and `validation_*` metrics of `raw_outputs`."""
        found = Evaluation()
        for split, answers in raw.items():
            scored, truth = (self._of_scored(split, array) for array in (answers, rows[split][1]))
            found |= self._evaluate(split, scored, truth).prefixed(f"{split}_")
        return found

    def _evaluate(self, split: str, answers: Any, truth: Any) -> Evaluation:
        if not len(answers):
            return Evaluation.without(NAMES[self._schema.target.task], f"there are no {split} rows")
        boxes = self._transforms.box_target
        if self._schema.target.task == "anomaly":
            truth = known_anomalies(self._schema.target, self._columns(split))
        if boxes is None:
            return self._recipe.metrics(answers, truth) | self._per_character(answers, truth)
        from tidegate.models.evaluation.box_metrics import evaluate_answers

        detection = self._decoding if isinstance(self._decoding, Detection) else DEFAULT_DETECTION
        return evaluate_answers(answers, boxes, self._columns(split), detection)

    def _per_character(self, answers: Any, truth: Any) -> Evaluation:
        """See `evaluation.text_metrics.character_perplexity`; only of subwords, whose number is the experiment's."""
        text_target = self._transforms.text_target
        if text_target is None or self._schema.target.tokens != "subwords":
            return Evaluation()
        from tidegate.models.evaluation.text_metrics import character_perplexity

        return character_perplexity(text_target, truth, answers)

    def calibrate(self, model: Any, validation: Rows) -> float | None:
        """Scale the model's last layer by a temperature fitted to the validation rows; return it, or None."""
        temperature = self._recipe.calibrate(model, validation)
        if self._recipe.training["calibration"] is not None:
            fitted = (
                "could not be fitted to the validation rows" if temperature is None else f"{temperature:.4g}"
            )
            print(f"calibration: temperature {fitted}", flush=True)
        return temperature

    def choose_thresholds(self, raw: Any, validation: Rows) -> tuple[float, ...] | None:
        """From which probability each label, or score an anomaly, is answered, by the validation rows; metrics use it.

        None where labels are answered from 0.5 on, and for all other tasks.
        """
        target = self._recipe.target
        if target.task == "anomaly":
            return self._choose_limit(target, raw)
        if self._recipe.training["thresholds"] is None:
            return None
        chosen = choose_thresholds(validation[1], as_answers(target, raw))
        named = ", ".join(f"{name} {one:.3g}" for name, one in zip(target.classes, chosen, strict=True))
        print(f"thresholds: {named}", flush=True)
        target = target.model_copy(update={"thresholds": chosen})
        self._recipe = replace(self._recipe, target=target)
        return chosen

    def _choose_limit(self, target: Target, raw: Any) -> tuple[float, ...]:
        """Above which score a row is an anomaly, see `choose_limit`."""
        limit = choose_limit(as_answers(target, raw), target.alarms or 0.0)
        print(
            f"threshold: {limit.score:.4g}, above which {limit.above} of {limit.rows} validation rows are",
            flush=True,
        )
        chosen = (limit.score,)
        self._recipe = replace(self._recipe, target=target.model_copy(update={"thresholds": chosen}))
        return chosen

    def files(self, model: Any, raw: Any, report: dict[str, Any], later: bool = False) -> TrialFiles:
        """Save the files for later steps; if the model has no ONNX export, the reason is in `export_error`.

        Args:
            model: the trained model.
            raw: its answers to the test rows.
            report: see `report`.
            later: whether it is not exported and gets no probes, see `TrainInputs.export_later`.
        """
        keras = self._context.work / "model.keras"
        model.save(keras, include_optimizer=False)
        if later:
            return self._put(ModelFiles(keras, None, ""), None, raw, report, exported=False)
        files = export_model(model, keras, self._context.work / "model.onnx")
        return self.keep(KerasAnswers(model), files, raw, report)

    def keep(self, model: Answering, files: ModelFiles, raw: Any, report: dict[str, Any]) -> TrialFiles:
        """Put the files of a trained model of any format into the store, with its answers.

        Args:
            model: it, for the probes.
            files: that serve it.
            raw: its answers to the test rows.
            report: see `report`.
        """
        columns = self._columns("test")
        probes = put_probes(model, self._schema, self._transforms, columns, self._context)
        return self._put(files, probes, raw, report)

    def _put(
        self, files: ModelFiles, probes: Ref | None, raw: Any, report: dict[str, Any], exported: bool = True
    ) -> TrialFiles:
        work, put = self._context.work, self._context.put
        np.save(work / "reference.npy", raw)
        facts = np.array(strict_json(report.pop("facts")))
        np.savez(work / "report.npz", allow_pickle=False, facts=facts, **report)
        return TrialFiles(
            keras=put(files.keras) if files.keras else None,
            onnx=put(files.onnx) if files.onnx else None,
            export_error=files.export_error,
            reference=put(work / "reference.npy"),
            report=put(work / "report.npz"),
            probes=probes,
            exported=exported,
            cached=put(files.cached) if files.cached else None,
        )

    def report(self, raw: Any, before: Any, history: "History", truth: Any) -> dict[str, Any]:
        """The content of the figures: `facts`, and arrays."""
        target = self._schema.target
        facts = {
            "task": target.task,
            "classes": target.classes,
            "names": target.names,
            "history": history.epochs,
        }
        # What is no class and no number a row has only the training curve.
        if target.task not in ("classification", "regression") or target.shape is not None:
            return {"facts": facts, "y_true": np.zeros(0), "y_pred": np.zeros(0)}
        changed = before is not raw
        raw, before, truth = (self._of_scored("test", array) for array in (raw, before, truth))
        uncalibrated = {} if not changed else {"y_uncalibrated": as_answers(target, before)}
        return {"facts": facts, "y_true": truth, "y_pred": as_answers(target, raw), **uncalibrated}
