"""The rows that an ejected release is tested with: raw rows, and what the trained model answered to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.infra.store import Ref
from tidegate.models.data.columns import Columns, load_columns, rows_of
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.probing.probes import load_probes
from tidegate.pipelines.errors import UnknownNameError
from tidegate.pipelines.state.finished_steps import find_outputs, outputs_of
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.deployment.release import Release
from tidegate.serving.inference.predictor import Predictor, sample_rows

MOST_ROWS = 32


@dataclass(frozen=True)
class EjectedRows:
    """Raw rows and answers to them. `of`: whose answers they are; `answers`: None where they are drawn at random."""

    rows: list[Any]
    answers: list[Any] | None
    of: str


def ejected_rows(home: Home, release: Release, bundle: Bundle) -> EjectedRows:
    """Held-out rows with the trained model's answers; where they are gone, the bundle's probes, or its sample rows."""
    contract = bundle.contract
    names = [entry.name for entry in contract.inputs]
    found = _held_out(home, release) or _probes(bundle)
    if found is None or contract.settings is not None:
        rows = bundle.sample if found is None else _rows(found[0], names)
        drawn = contract.decoding is not None and contract.decoding.method == "sample"
        return EjectedRows(
            rows, None if drawn else list(Predictor.of(bundle).predict_rows(rows)), "the release"
        )
    columns, answers = found
    rows = _rows(columns, names)
    values = as_answers(contract.target_, answers[:MOST_ROWS])
    return EjectedRows(rows, list(contract.predictions(values)), "the trained model")


def _rows(columns: Columns, names: Sequence[str]) -> list[Any]:
    return sample_rows({name: columns[name] for name in names}, MOST_ROWS)


def _held_out(home: Home, release: Release) -> tuple[Columns, Any] | None:
    """The run's test rows and the winner's answers to them; None where the run or its files were removed."""
    try:
        record = home.run_folder(release.run).read()
    except UnknownNameError:
        return None
    imported = next(iter(outputs_of(home, record, "import")), None)
    prepared = imported["prepared"] if imported else next(iter(outputs_of(home, record, "prepare")), None)
    key = next((step.key for step in record.steps if step.id == release.trial), "")
    trained = imported["trained"] if imported else find_outputs(home.store, key) if key else None
    if prepared is None or trained is None:
        return None
    columns = load_columns(home.store.fetch(Ref.model_validate(prepared["test"])))
    answers = np.load(home.store.fetch(Ref.model_validate(trained["reference"])), allow_pickle=False)
    return (columns, answers) if rows_of(columns) else None


def _probes(bundle: Bundle) -> tuple[Columns, Any] | None:
    if bundle.probes is None:
        return None
    probes = load_probes(bundle.probes)
    return probes.columns, probes.answers
