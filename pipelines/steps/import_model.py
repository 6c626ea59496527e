"""import: a trained model, loaded in its own framework, as if it had been trained here.

Its inputs get the columns of the data, it is evaluated on the test rows, exported, and its answers are kept.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.store import Ref
from tidegate.infra.system.files import write_atomic
from tidegate.models.config.training import Training
from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.metrics import to_predictions
from tidegate.models.imported.answers import read_answers, require_answers, require_rows
from tidegate.models.imported.heads import head_of, loss_of, with_classes
from tidegate.models.networks.heads.probabilities import require_probabilities
from tidegate.models.preprocessing.raw_inputs import as_raw, raw_transforms, returned_schema
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.training.fit import History
from tidegate.models.training.recipe import Recipe
from tidegate.models.user_code.project import project_document
from tidegate.pipelines.errors import error_message
from tidegate.pipelines.step_types.import_model import Imported, ImportInputs
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.pipelines.steps.imports.formats import TrainedModel, load_trained
from tidegate.pipelines.steps.trials.trial_log import TrialLog, version_tags
from tidegate.pipelines.steps.trials.trial_results import TrialResults
from tidegate.pipelines.steps.trials.trial_rows import TrialRows

PART = 1024  # rows that the model is asked at a time
UNPROVED = (
    "nothing proves that the served model answers as it did in its own framework: give these answers as model.answers "
    "(tidegate release --answers FILE)"
)
SPLITS = ("train", "validation", "test")


def run(inputs: ImportInputs, context: StepContext) -> Imported:
    """Import one trained model.

    Raises:
        UntrustedModelError: its file could do more than compute.
        ModelsError: it cannot be loaded, does not fit the data, or does not give the answers it should.
    """
    tags = inputs.tags | version_tags(inputs.versions)
    log = TrialLog(context, inputs.run, inputs.name, 0, inputs.content, tags)
    try:
        return _Import(inputs, context, log).run()
    except Exception as error:
        log.failed(error_message(error))
        raise


class _Import:
    """One import while it runs."""

    def __init__(self, inputs: ImportInputs, context: StepContext, log: TrialLog) -> None:
        self._inputs, self._context, self._log = inputs, context, log

    def run(self) -> Imported:
        """Load, match, evaluate, prove, and keep."""
        inputs, context = self._inputs, self._context
        path = context.store.fetch(inputs.model)
        code = project_document()
        if inputs.format != "onnx":
            self._log.starting("tensorflow")
        model = load_trained(inputs.format, path, code, context.work)
        schema, transforms, told = self._contract(model)
        rows = TrialRows(context.store, inputs.prepared, schema, transforms)
        columns = {split: rows.columns(split) for split in SPLITS}
        recipe = self._recipe(model, schema.target, transforms, columns["test"])
        results = TrialResults(context, schema, transforms, recipe, rows.columns, None)
        raw = {split: self._answers(model, transforms, columns[split]) for split in SPLITS}
        require_probabilities(raw["test"], recipe.head.activation)
        for sentence in (*told, *model.changed):
            print(sentence, flush=True)
        proof, reference, warnings = self._proved(schema.target, recipe.head.activation, raw)
        held = {split: raw[split] for split in ("validation", "test")}
        measured = results.metrics(held, {split: rows.encoded(split) for split in held})
        report = results.report(raw["test"], raw["test"], History(), rows.encoded("test")[1])
        files = results.keep(
            model, model.files(context.work), reference if reference is not None else raw["test"], report
        )
        prepared = self._prepared(schema, transforms)
        units = list(raw["test"].shape[1:])
        requirements = [f"{name}=={version}" for name, version in inputs.versions.items()]
        self._log.results(measured, prepared, transforms, schema, files, units, requirements, None)
        trained = Trained(
            id=context.id,
            index=0,
            keras=files.keras,
            onnx=files.onnx,
            export_error=files.export_error,
            reference=files.reference,
            report=files.report,
            probes=files.probes,
            events=self._log.store_events(),
            activation=recipe.head.activation,
            params={},
            metrics=measured.values,
            undefined=measured.undefined,
            monitor="test_loss",
            value=measured.values.get("test_loss", 0.0),
            curve=[],
            pruned=False,
            epochs=0,
            warnings=(*warnings, *_warnings_of(told)),
            proof=proof,
        )
        return Imported(trained=trained, prepared=prepared)

    def _contract(self, model: TrainedModel) -> tuple[Schema, Transforms, list[str]]:
        """The schema and transforms of the model: its own, if Tidegate trained it, else the columns as they are."""
        schema, fitted = read_contract(self._inputs.prepared, self._context.store)
        if schema.target.task not in ("classification", "regression"):
            raise OptionsError(
                f"model.trained predicts a {schema.target.task}; expected a classification or a regression, for which "
                "a trained model can be imported; train it here"
            )
        if self._inputs.contract is not None:
            return self._own_contract(schema)
        schema, order = with_classes(schema, self._inputs.classes, model.classes)
        seen = schema
        if fitted.own is not None:
            columns = TrialRows(self._context.store, self._inputs.prepared, schema, fitted).columns("test")
            few = take(columns, np.arange(min(PART, rows_of(columns))))
            seen = returned_schema(schema, fitted.own, few)
        transforms, told = raw_transforms(seen, fitted, model.inputs)
        return as_raw(schema), transforms, [*told, *order]

    def _own_contract(self, schema: Schema) -> tuple[Schema, Transforms, list[str]]:
        assert self._inputs.contract is not None
        document = json.loads(self._context.store.fetch(self._inputs.contract).read_bytes())
        if "own" in document["transforms"]:
            raise OptionsError(
                "model.trained was trained by Tidegate with a transform of its project; expected one without, because "
                "its code is not kept in MLflow; train it here"
            )
        theirs = Schema.model_validate(document["schema"])
        columns = {field.name: (field.kind, field.shape) for field in schema.inputs}
        for field in theirs.inputs:
            if columns.get(field.name) != (field.kind, field.shape):
                held = columns.get(field.name, "no such column")
                raise OptionsError(
                    f"model.trained was trained by Tidegate on the column {field.name!r}, {field.kind} {field.shape}, "
                    f"and the data has {held}; expected the columns that it was trained on; name them in data.inputs"
                )
        unused = set(columns) - {field.name for field in theirs.inputs}
        if unused:
            raise OptionsError(
                f"model.trained does not take the columns {', '.join(sorted(unused))}; expected those that it was "
                "trained on; name these in data.inputs"
            )
        classes = list(theirs.target.classes)
        schema, _ = with_classes(schema, None, tuple(classes))
        told = "its columns are encoded as they were when Tidegate trained it"
        return (
            schema.model_copy(update={"inputs": theirs.inputs}),
            Transforms.from_dict(document["transforms"]),
            [told],
        )

    def _recipe(self, model: TrainedModel, target: Target, transforms: Transforms, test: Columns) -> Recipe:
        """How its outputs are read; logits get their activation."""
        few = take(test, np.arange(min(2, rows_of(test))))
        answers = self._answers(model, transforms, few)
        if answers.ndim != 2:
            raise OptionsError(
                f"the model answers rows of shape {answers.shape[1:]}; expected as many numbers as there are classes, "
                "or target columns; export one that ends with these"
            )
        loss = loss_of(answers.shape[1], target, self._inputs.loss)
        training = Training.model_validate({"loss": loss, "metrics": self._inputs.metrics}).model_dump()
        recipe = Recipe({}, training, target, 0)
        head = head_of(target, loss)
        if head.logits:
            model.add_activation(head)
        return recipe

    def _answers(self, model: TrainedModel, transforms: Transforms, columns: Columns) -> NDArray[np.float32]:
        """Its answers to raw rows, in parts that fit into memory; no row for no rows."""
        parts = [
            model.run(transforms.apply(take(columns, np.arange(start, min(start + PART, rows_of(columns))))))
            for start in range(0, rows_of(columns), PART)
        ]
        return (
            np.concatenate(parts)
            if parts
            else np.zeros((0, *[size or 0 for size in model.sizes]), np.float32)
        )

    def _proved(
        self, target: Target, activation: str, raw: dict[str, NDArray[np.float32]]
    ) -> tuple[Any, NDArray[np.float32] | None, tuple[str, ...]]:
        """What the model is proved by, the given answers to the test rows where these are it, and warnings."""
        inputs, own = self._inputs, self._inputs.format != "onnx"
        if inputs.answers is None:
            if own:
                return "training", None, ()
            return "none", None, (UNPROVED,)
        name = inputs.answers.name
        places = self._places()
        answers = read_answers(self._context.store.fetch(inputs.answers), name, target)
        summary = inputs.prepared.summary
        require_rows(answers, sum(summary["rows"].values()) + summary["dropped_rows"], name)
        predicted = to_predictions(np.concatenate([raw[split] for split in SPLITS]), activation)
        apart = require_answers(answers, predicted, places, name)
        print(f"{name}: the same answers to {len(places)} rows, within {apart:.2g}", flush=True)
        if own:
            return "training", None, ()
        given = answers[places[len(places) - len(raw["test"]) :]]
        return "answers", given[:, -1:] if activation == "sigmoid" else given, ()

    def _places(self) -> NDArray[np.int64]:
        ref = self._inputs.prepared.places
        if ref is None:
            raise OptionsError(
                "model.answers are for the rows of one source, in their order; expected data.source with a file or "
                "folder whose rows are divided here; leave model.answers out"
            )
        places: NDArray[np.int64] = np.load(self._context.store.fetch(ref), allow_pickle=False)
        return places

    def _prepared(self, schema: Schema, transforms: Transforms) -> Prepared:
        """The data as this model takes it."""
        work, put = self._context.work, self._context.put
        documents = {"schema": schema.model_dump(mode="json"), "transforms": transforms.to_dict()}
        refs: dict[str, Ref] = {}
        for name, document in documents.items():
            write_atomic(work / f"{name}.json", json.dumps(document).encode())
            refs[name] = put(work / f"{name}.json")
        summary = self._inputs.prepared.summary
        if schema.target.task == "classification":
            none = {"train": 0, "validation": 0, "test": 0}
            counts = {str(name): summary["classes"].get(str(name), none) for name in schema.target.classes}
            summary = {**summary, "classes": counts}
        changed = {"schema_": refs["schema"], "transforms": refs["transforms"], "summary": summary}
        return self._inputs.prepared.model_copy(update=changed)


def _warnings_of(told: list[str]) -> tuple[str, ...]:
    """What of it the user has to judge."""
    return tuple(sentence for sentence in told if "state it as model.classes" in sentence)
