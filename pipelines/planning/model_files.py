"""The files of a model that an experiment names: a trained model, its answers, and weights to begin with."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tidegate.infra.mlflow.artifacts import SCHEMES
from tidegate.infra.store import Ref, Store
from tidegate.pipelines.errors import ExperimentError, PipelineError
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.bucket_source import SCHEMES as BUCKETS
from tidegate.pipelines.planning.bucket_source import BucketSource
from tidegate.pipelines.planning.identity import Facts, Start
from tidegate.pipelines.planning.trained_file import (
    WEIGHTS,
    LocalFile,
    TrainedFile,
    local_file,
    trained_file,
)
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home


@dataclass(frozen=True)
class ModelFiles:
    """What the experiment names; None what it does not."""

    trained: TrainedFile | None = None
    answers: LocalFile | None = None
    weights: LocalFile | None = None
    start: Start | None = None
    begun: LocalFile | None = None

    def into(self, facts: Facts) -> Facts:
        """The facts with these files."""
        trained = [self.trained.model, self.trained.contract] if self.trained else []
        files = [one for one in (*trained, self.answers, self.weights, self.begun) if one is not None]
        return replace(
            facts,
            trained=self.trained,
            answers=self.answers.ref if self.answers else None,
            weights=self.weights.ref if self.weights else None,
            start=self.start,
            model_files=files,
        )


def model_files(experiment: Experiment, home: Home) -> ModelFiles:
    """Find and digest the files.

    Raises:
        ExperimentError: one is missing, or of a format that holds code.
        TrackingError: MLflow does not have it.
    """
    model = experiment.model
    start, begun = _start(experiment, home)
    return ModelFiles(
        trained=trained_file(model.trained, home) if model.trained else None,
        answers=local_file(Path(model.answers), "model.answers") if model.answers else None,
        weights=_weights(model.weights, home) if model.weights else None,
        start=start,
        begun=begun,
    )


def keep_files(files: list[LocalFile], store: Store) -> None:
    """Put the files into the store; steps use these copies, whatever happens to the files.

    Raises:
        PipelineError: one changed since the run was planned.
    """
    for file in files:
        if not store.has(file.ref) and store.put(Path(file.path), file.ref.name) != file.ref:
            raise PipelineError(f"{file.path} was changed while the run was being planned; submit again")


def _weights(address: str, home: Home) -> LocalFile:
    """The file of `model.weights`; one in a bucket is copied once, as long as it does not change there."""
    if not address.startswith(BUCKETS):
        return local_file(Path(address), "model.weights")
    source = BucketSource(address, None, home.endpoint_of(address))
    folder = home.path / "imported" / f"{address.partition(':')[0]}-{source.digest()[:16]}"
    copied = next(iter(_files(folder)), None)
    if copied is None:
        shutil.rmtree(folder, ignore_errors=True)
        copied = source.fetch(folder, source.digest())
    return local_file(copied, "model.weights")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _start(experiment: Experiment, home: Home) -> tuple[Start | None, LocalFile | None]:
    """The weights that training begins with, and their file, if they are of no run.

    Raises:
        ExperimentError, UnknownNameError: there are none.
    """
    asked = experiment.model.from_
    if asked is None:
        return None, None
    if asked.startswith(SCHEMES) or Path(asked).suffix == ".keras":
        found = trained_file(asked, home, "model.from")
        if found.format != "keras":
            raise ExperimentError(
                f"model.from: {asked} is of the format {found.format}; expected a Keras model, whose weights a model "
                "here can begin with; name a .keras file"
            )
        name = asked if asked.startswith(SCHEMES) else Path(asked).name
        return Start(name, found.model.ref, None, foreign=True), found.model
    if asked.endswith(WEIGHTS):
        file = local_file(Path(asked), "model.from")
        return Start(file.ref.name, file.ref, None, foreign=True), file
    return _winner_of(asked, experiment, home), None


def _winner_of(asked: str, experiment: Experiment, home: Home) -> Start:
    if asked == experiment.name:
        raise ExperimentError(
            f"model.from is {asked}, this experiment's own name, whose newest run changes with each one; expected "
            "the id of a run; name a run that `tidegate runs` lists"
        )
    done = [folder for folder in home.run_folders() if folder.read().status == "done"]
    newest = next((folder.run for folder in done if folder.read().name == asked), asked)
    record = home.run_folder(newest).read()
    selected, prepared = (outputs_of(home, record, step) for step in ("select", "prepare"))
    if not selected or not prepared:
        raise ExperimentError(
            f"model.from: run {newest} is {record.status} and its files are missing; expected a run that is done; "
            "submit it again, or name another"
        )
    keras, transforms = selected[0]["winner"]["keras"], prepared[0]["transforms"]
    if keras is None:
        raise ExperimentError(
            f"model.from: run {newest} serves a model of another framework; expected a Keras model; name another run"
        )
    return Start(newest, Ref.model_validate(keras), Ref.model_validate(transforms))
