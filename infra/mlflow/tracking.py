"""The MLflow client: runs and what they log. Every call may safely be repeated.

Importing this module is cheap; MLflow (3 s) is imported when a `Tracker` is created.
"""

import gc
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import events
from tidegate.infra.mlflow.failures import code, explain
from tidegate.infra.mlflow.spool import Event

RUN_TAG = "tidegate.run"  # our run's id, on the parent, its children and their models
SPOOL_TAG = "tidegate.spool"  # which of them: `run` is the parent
POINTS, PAIRS = 1000, 100  # MLflow's limits for one log-batch request
# Without this tag the UI guesses, and shows our experiments as ones of traces and evaluations.
KIND = {"mlflow.experimentKind": "custom_model_development"}
# Without this part of an address, MLflow 3.17 opens its pages for language models, not those for training.
TRAINING = "workflowType=machine_learning"
T = TypeVar("T")

# No retries inside MLflow's client: it would repeat a POST that timed out, and so create a run twice.
CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class GoneError(TrackingError):
    """The synced runs no longer exist in MLflow: its database was replaced."""


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """Return the page of a run in the MLflow UI at `base`."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"


def compare_url(base: str, experiment_ids: Sequence[str], run_ids: Sequence[str]) -> str:
    """Return MLflow's page that compares runs."""
    runs, experiments = (
        quote(json.dumps(list(ids), separators=(",", ":"))) for ids in (run_ids, experiment_ids)
    )
    return f"{base.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{TRAINING}"


def experiments_url(base: str) -> str:
    """Return MLflow's list of experiments, where people start to look."""
    return f"{base.rstrip('/')}/#/experiments?{TRAINING}"


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection while MLflow is imported, and never look through MLflow for garbage afterwards.

    Nothing of it is garbage: that saves 0.8 s of 4.7 at the import, and 0.6 s of what is imported next.
    """
    if "mlflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_client() -> None:
    """Import MLflow's client, which takes 2 s. A second call is free."""
    for name, value in CLIENT.items():
        os.environ.setdefault(name, value)
    with gc_paused():
        import_module("mlflow")


class Tracker:
    """A connection to one MLflow server."""

    def __init__(self, uri: str) -> None:
        """Import MLflow and create a client for `uri`; nothing is sent yet."""
        import_client()
        from mlflow import MlflowClient

        self.uri = uri
        self.client = MlflowClient(uri, uri)

    def experiment(self, name: str) -> str:
        """Return the id of the experiment; it is created if missing, restored if deleted."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, tags=KIND))
            except Exception as error:
                if code(error) != "RESOURCE_ALREADY_EXISTS":
                    raise
                return self.experiment(name)
        if found.lifecycle_stage != "active":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def runs(self, experiment_id: str, run: str, name: str | None = None) -> dict[str, list[str]]:
        """Return the MLflow runs of our run, or of one of its spools: spool name -> run ids, the oldest first."""
        one = f" and tags.`{SPOOL_TAG}` = '{name}'" if name is not None else ""
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        found: dict[str, list[str]] = {}
        token: str | None = None
        while token != "":
            page = self.client.search_runs(
                [experiment_id],
                f"tags.`{RUN_TAG}` = '{run}'{one}",
                max_results=1000,
                order_by=order,
                page_token=token,
            )
            for one in page:
                found.setdefault(one.data.tags.get(SPOOL_TAG, ""), []).append(one.info.run_id)
            token = page.token or ""
        return found

    def create(self, experiment_id: str, run: str, name: str, event: Event, parent: str | None) -> str:
        """Create the MLflow run of a `run` event; its start time is the event's."""
        tags = events.tags(event.get("tags") or {}) | {RUN_TAG: run, SPOOL_TAG: name}
        if parent:
            tags["mlflow.parentRunId"] = parent
        title = str(event.get("name") or f"{run}/{name}")
        return str(self.client.create_run(experiment_id, event["t"], tags, title).info.run_id)

    def restore(self, run_id: str) -> bool:
        """Restore a run that was deleted in the UI, with its experiment; return whether it was deleted."""
        run = self.client.get_run(run_id)
        if run.info.lifecycle_stage == "active":
            return False
        self._restore_experiment(run.info.experiment_id)
        if (
            self.client.get_run(run_id).info.lifecycle_stage != "active"
        ):  # its experiment takes its runs along
            self.client.restore_run(run_id)
        return True

    def _restore_experiment(self, experiment_id: str) -> None:
        if self.client.get_experiment(experiment_id).lifecycle_stage != "active":
            self.client.restore_experiment(experiment_id)

    def drop(self, run_id: str) -> None:
        """Delete a duplicate run, created by a request whose response was lost."""
        self.client.delete_run(run_id)

    def log(self, run_id: str, batch: events.Batch) -> None:
        """Log parameters, tags and points, in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        points = _chunks([Metric(p.key, p.value, p.t, p.step) for p in batch.points], POINTS - 2 * PAIRS)
        params = _chunks([Param(key, value) for key, value in batch.params.items()], PAIRS)
        tags = _chunks([RunTag(key, value) for key, value in batch.tags.items()], PAIRS)
        for number in range(max(len(points), len(params), len(tags))):
            parts = (part[number] if number < len(part) else [] for part in (points, params, tags))
            self.client.log_batch(run_id, *parts)

    def log_datasets(self, run_id: str, datasets: Sequence[Event]) -> None:
        """Link datasets to the run, each with its context."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(**events.dataset(event)),
                [InputTag("mlflow.data.context", str(event.get("context") or "training"))],
            )
            for event in datasets
        ]
        self.client.log_inputs(run_id, inputs)

    def upload(self, run_id: str, folder: Path) -> None:
        """Upload a folder's content as the run's artifacts."""
        self.client.log_artifacts(run_id, str(folder))

    def set_status(self, run_id: str, end: Event | None) -> None:
        """End the run with the event's status and time; None: set it to running (again)."""
        if end:
            self.client.set_terminated(run_id, events.status(end), end["t"])
        else:
            self.client.update_run(run_id, "RUNNING")

    def models(self, experiment_id: str, run: str) -> dict[str, list[Any]]:
        """Return the logged models of our run: MLflow run id -> models, complete ones first, then the oldest."""
        found: dict[str, list[Any]] = {}
        for model in self.client.search_logged_models([experiment_id], f"tags.`{RUN_TAG}` = '{run}'"):
            found.setdefault(model.source_run_id, []).append(model)
        for models in found.values():
            models.sort(key=lambda one: (one.status != "READY", one.creation_timestamp, one.model_id))
        return found

    def log_model(
        self,
        experiment_id: str,
        run_id: str,
        run: str,
        folder: Path,
        source: Mapping[str, Any],
        batch: events.Batch,
    ) -> None:
        """Log a model of the run; one that exists already is completed, not created again; with `again` in its event
        its files are replaced.

        Args:
            experiment_id: the run's experiment.
            run_id: the MLflow run's id.
            run: our run's id.
            folder: a scratch folder, created here.
            source: `event`, and the files `keras` and `onnx` (or None), and `contract`, see `write_model`.
            batch: `params` and `points` that the model's page shows.
        """
        from mlflow.entities import Metric

        from tidegate.infra.mlflow.model import write_model

        found = self.models(experiment_id, run).get(run_id)
        kind = "keras" if source["keras"] else "onnx"
        model = found[0] if found else self._create_model(experiment_id, run_id, run, batch, kind)
        self.link_model(run_id, model.model_id)
        ready = model.status == "READY"
        if ready and not source["event"].get("again"):
            return
        points = [Metric(p.key, p.value, p.t, p.step, model.model_id, run_id=run_id) for p in batch.points]
        for chunk in () if ready else _chunks(points, POINTS):
            self.client.log_batch(run_id, chunk)
        identity = {"model_id": model.model_id, "run_id": run_id, "artifact_path": model.artifact_location}
        write_model(
            folder, source["event"], source["keras"], source["onnx"], source.get("contract"), **identity
        )
        self.client.log_model_artifacts(model.model_id, str(folder))
        if not ready:
            self.client.finalize_logged_model(model.model_id, "READY")

    def _create_model(self, experiment_id: str, run_id: str, run: str, batch: events.Batch, kind: str) -> Any:
        return self.client.create_logged_model(
            experiment_id, "model", run_id, tags={RUN_TAG: run}, params=batch.params, model_type=kind
        )

    def link_model(self, run_id: str, model_id: str) -> None:
        """Link a logged model to the run; it may be another run's, such as the winning child's."""
        from mlflow.entities import LoggedModelOutput

        logged = self.client.get_run(run_id).outputs
        if model_id not in [output.model_id for output in logged.model_outputs]:
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])

    def drop_model(self, model_id: str) -> None:
        """Delete a duplicate model, created by a request whose response was lost."""
        self.client.delete_logged_model(model_id)


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def check_login(uri: str) -> None:
    """Ask MLflow for its experiments as every command does: with the same login, certificates and path.

    Raises:
        TrackingError: it refuses, or does not answer; says which.
    """
    try:
        Tracker(uri).client.search_experiments(max_results=1)
    except Exception as error:
        raise TrackingError(explain(uri, error)) from error
