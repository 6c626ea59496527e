"""The winner of a search gets what the other trials do without: its ONNX file, its probes and its explanations.

They are made of its Keras file, whose weights are those of the process that trained it to the bit. Keras is imported
only once a winner has to be exported.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.store import Ref
from tidegate.infra.system.strict_json import strict_json
from tidegate.models.data.columns import Columns, load_columns
from tidegate.models.distributed.devices import configure_backend
from tidegate.models.export.saved_keras import load_saved
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import KerasAnswers
from tidegate.models.user_code.project import project_document
from tidegate.pipelines.step_types.select import SelectInputs
from tidegate.pipelines.step_types.train import Trained
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.pipelines.steps.trials.attributions import explain_rows
from tidegate.pipelines.steps.trials.exports import export_model, put_probes


def exported(inputs: SelectInputs, winner: Trained, context: StepContext) -> Trained:
    """The winner with its ONNX file, or the reason why there is none, its probes, and the explanations in its report.

    Args:
        inputs, context: of `select`.
        winner: a trial that was not exported; any other is returned as it is.
    """
    if winner.exported or winner.keras is None:
        return winner
    training, saved = inputs.training_of(winner), context.store.fetch(winner.keras)
    configure_backend(training["backend"], context.home.compiled)
    model = _load(saved, training["seed"])
    schema, transforms = read_contract(inputs.prepared, context.store)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    files = export_model(model, saved, context.work / "model.onnx")
    return winner.model_copy(
        update={
            "onnx": context.put(files.onnx) if files.onnx else None,
            "export_error": files.export_error,
            "cached": context.put(files.cached) if files.cached else None,
            "probes": put_probes(KerasAnswers(model), schema, transforms, columns, context),
            "report": _explained(model, schema, transforms, columns, training["explain"], winner, context),
            "exported": True,
        }
    )


def _load(saved: Path, seed: int) -> Any:
    """The trained model, in a process whose operations repeat to the bit, as where it was trained."""
    from tidegate.models.networks.determinism import make_deterministic

    model = load_saved(saved, project_document())
    make_deterministic(seed)
    return model


def _explained(
    model: Any,
    schema: Schema,
    transforms: Transforms,
    columns: Columns,
    count: int | None,
    winner: Trained,
    context: StepContext,
) -> Ref:
    """The trial's report with the explanations that `training.explain` asks for."""
    if not count:
        return winner.report
    with np.load(context.store.fetch(winner.report), allow_pickle=False) as report:
        arrays = {name: report[name] for name in report if name != "facts"}
        facts = json.loads(str(report["facts"]))
    test = transforms.apply(columns), transforms.target(schema, columns)
    arrays |= explain_rows(model, schema, transforms, test, count, winner.activation, facts)
    path = context.work / "report.npz"
    np.savez(path, allow_pickle=False, facts=np.array(strict_json(facts)), **arrays)
    return context.put(path)
