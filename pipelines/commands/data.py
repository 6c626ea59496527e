"""data: what each column of a file is taken for, and what a model gets of it; without a run, without TensorFlow."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tidegate.models.config.losses import task_of
from tidegate.models.data.read_options import OwnLoad
from tidegate.models.preprocessing.look import Look, look
from tidegate.models.preprocessing.profile.column_lines import column_lines
from tidegate.models.user_code.project import use_project
from tidegate.pipelines.commands.csv_options import csv_options
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.data import ASKED, Data
from tidegate.pipelines.experiment.load import EXAMPLES, load_experiment
from tidegate.pipelines.planning.data_source import source_of
from tidegate.pipelines.result import Result

EXPERIMENTS = (".yaml", ".yml")


def data(file: str, column: str | None, overrides: Sequence[str], csv: Sequence[str]) -> Result:
    """Look at the data of a file or an experiment.

    Args:
        file: an experiment file, an example's name, or a file or folder of data.
        column: of data, the one to predict; None: none.
        overrides: `key=value` strings, for an experiment.
        csv: how a .csv is written, as KEY=VALUE; what is not stated is found out.

    Raises:
        ExperimentError, ModelsError, UsageError: the experiment is wrong, or the data cannot be read.
    """
    part, loss = _part(file, column, overrides)
    with tempfile.TemporaryDirectory(prefix="tidegate-data-") as folder:
        source = source_of(part).fetch(Path(folder), None)
        asked = part.model_dump(mode="json", include=ASKED)
        dialect = csv_options(csv)
        asked |= {} if dialect is None else {"csv": asdict(dialect)}
        task = part.task or task_of(loss)
        load = OwnLoad(part.load, part.options) if part.load else None
        seen = look(dataset=part.dataset, source=source, task=task, tile=part.tile, load=load, **asked)
    found = {"rows": seen.rows, "dropped_rows": seen.dropped}
    return Result(found | {"columns": seen.columns, "warnings": seen.warnings}, _text(seen))


def _part(file: str, column: str | None, overrides: Sequence[str]) -> tuple[Data, Any]:
    path = Path(file)
    example = (EXAMPLES / f"{file}.yaml").is_file() and not path.exists()
    if example or path.suffix in EXPERIMENTS or (path / "experiment.yaml").is_file():
        experiment = load_experiment(file, overrides)
        if column is not None:
            raise UsageError(
                f"{file} is an experiment, and COLUMN is {column}; expected COLUMN only for a file of data; leave it "
                "out, or give --set data.target=COLUMN"
            )
        own = experiment.data.load or experiment.data.transform
        if own is not None and experiment.code.path is not None:
            use_project([Path(experiment.code.path), Path(experiment.code.path, "src")])
        return experiment.data, experiment.training.loss
    if overrides:
        raise UsageError(
            f"--set {overrides[0]} is given, and {file} is no experiment; expected it only with one; leave it out"
        )
    stated = Data.model_validate({"source": str(path.absolute()), "target": column or "none"})
    return stated if column else stated.model_copy(update={"target": None}), None


def _text(seen: Look) -> str:
    dropped = f", and {seen.dropped} without a target, which are left out" if seen.dropped else ""
    lines = [f"{seen.rows} rows{dropped}", "", *column_lines(seen.columns)]
    told = [*seen.warnings, *(one["warnings"][0] for one in seen.columns if one["kind"] == "refused")]
    return "\n".join([*lines, *([""] if told else []), *(f"warning: {sentence}" for sentence in told)])
