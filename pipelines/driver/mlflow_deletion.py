"""Delete in MLflow what it has of deleted runs and endpoints; what it cannot do now it does when it runs again."""

import json
from pathlib import Path

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import replay
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.mlflow.failures import code
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.infra.system.files import read_json, write_atomic
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.removed import remove_folder

Known = dict[str, str]  # MLflow's run id -> its experiment's id
GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # not there any more, or deleted in the UI


def known_in_mlflow(home: Home, run: str) -> Known:
    """The MLflow runs of a run, the parent first; none if it was never synced."""
    return {one["run_id"]: one["experiment_id"] for one in replay.state(home.spool / run).values()}


def delete_in_mlflow(home: Home, run: str, known: Known) -> tuple[int, str]:
    """Delete a run's MLflow runs and models; the local server's files of them go at once.

    Returns:
        The bytes that this freed, and why MLflow still shows the runs, or "".
    """
    if not known:
        return 0, ""
    if mlflow_server.url(home.path) is None:  # it does not run, and is not started for this
        _keep_for_later(home, run, known)
        return _free(home, known, []), ""
    try:
        models = _delete(Tracker(mlflow_server.ensure(home.path)), run, known)
    except Exception as error:  # whatever MLflow or its client has to say
        _keep_for_later(home, run, known)
        return 0, f"MLflow still shows run {run}, until the next sync: {error}"
    return _free(home, known, models), ""


def delete_pending(home: Home) -> None:
    """Delete what was deleted while MLflow did not run. Raises TrackingError."""
    for path in sorted(_pending(home).glob("*.json")):
        known = read_json(path) or {}
        try:
            _free(home, known, _delete(Tracker(mlflow_server.ensure(home.path)), path.stem, known))
        except Exception as error:
            raise TrackingError(f"MLflow still shows run {path.stem}: {error}") from error
        path.unlink(missing_ok=True)


def has_pending(home: Home) -> bool:
    """Whether there is something to do in MLflow that could not be done when it was asked for."""
    return any(_pending(home).glob("*.json")) or bool(pending_aliases(home))


def pending_aliases(home: Home) -> list[Path]:
    """A file for each endpoint that was changed while MLflow could not follow; its name is the endpoint's."""
    return sorted((home.path / "mlflow" / "aliases").glob("*"))


def follow_later(home: Home, endpoint: str) -> None:
    """Let the registry's alias of an endpoint follow when MLflow runs again."""
    folder = home.path / "mlflow" / "aliases"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / endpoint).touch()


def _delete(tracker: Tracker, run: str, known: Known) -> list[str]:
    """Delete the MLflow runs, and the models that they logged; return the models' ids."""
    models = [
        model.model_id
        for experiment in sorted(set(known.values()))
        for logged in tracker.models(experiment, run).values()
        for model in logged
    ]
    for model in models:
        tracker.drop_model(model)
    for run_id in known:
        try:
            tracker.drop(run_id)
        except Exception as error:
            if code(error) not in GONE:
                raise
    return models


def _free(home: Home, known: Known, models: list[str]) -> int:
    """Remove the local server's files of deleted runs and models; return their bytes."""
    if home.target is not None:
        return 0
    folders = [
        home.path / "mlflow" / "artifacts" / experiment / run_id for run_id, experiment in known.items()
    ]
    folders += [
        home.path / "mlflow" / "artifacts" / experiment / "models" / model
        for experiment in set(known.values())
        for model in models
    ]
    return sum(remove_folder(folder) for folder in folders)


def _pending(home: Home) -> Path:
    return home.path / "mlflow" / "deleted"


def _keep_for_later(home: Home, run: str, known: Known) -> None:
    _pending(home).mkdir(parents=True, exist_ok=True)
    write_atomic(_pending(home) / f"{run}.json", json.dumps(known).encode())
