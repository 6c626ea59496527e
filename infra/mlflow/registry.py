"""The MLflow model registry: one registered model per endpoint; its alias `champion` names the released version."""

from collections.abc import Mapping
from typing import Any

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow.events import tags as as_tags
from tidegate.infra.mlflow.failures import code
from tidegate.infra.mlflow.tracking import RUN_TAG, Tracker

ALIAS = "champion"
GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def set_champion(
    tracker: Tracker, endpoint: str, run_id: str, description: str = "", tags: Mapping[str, Any] | None = None
) -> str:
    """Point the endpoint's alias to the version of the winning child run; for promotion and rollback.

    Args:
        tracker: the MLflow server.
        endpoint: the registered model's name.
        run_id: the winning child's MLflow run; its logged model is registered as a version once.
        description: the version's description.
        tags: the version's tags, such as the release's number.

    Returns:
        The version's number.

    Raises:
        TrackingError: MLflow cannot be reached, or the child and its model are not synced yet.
    """
    try:
        version = _version(tracker, endpoint, run_id, description, as_tags(tags or {}))
        tracker.client.set_registered_model_alias(endpoint, ALIAS, version)
        _show_in_parent(tracker, run_id)
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(
            f"MLflow at {tracker.uri} did not accept {endpoint}'s champion: {error}; "
            "the endpoint itself is not affected, and the next command that syncs tries again"
        ) from error
    return version


def _version(tracker: Tracker, endpoint: str, run_id: str, description: str, tags: dict[str, str]) -> str:
    client = tracker.client
    found = _versions(tracker, endpoint, run_id)
    if not found:
        _ensure_registered(tracker, endpoint)
        model = _model(tracker, run_id)
        client.create_model_version(
            endpoint,
            f"models:/{model}",
            run_id,
            tags,
            description=description,
            model_id=model,
            await_creation_for=0,
        )
        found = _versions(tracker, endpoint, run_id)
    kept, *duplicates = found
    for version in duplicates:  # a response was lost, and the request was repeated
        client.delete_model_version(endpoint, version.version)
    for key, value in tags.items():
        if kept.tags.get(key) != value:
            client.set_model_version_tag(endpoint, kept.version, key, value)
    if description and kept.description != description:
        client.update_model_version(endpoint, kept.version, description)
    return str(kept.version)


def _show_in_parent(tracker: Tracker, run_id: str) -> None:
    """Link the winner's model to the parent run too, whose page people open first."""
    parent = tracker.client.get_run(run_id).data.tags.get("mlflow.parentRunId")
    if parent:
        tracker.link_model(parent, _model(tracker, run_id))


def _versions(tracker: Tracker, endpoint: str, run_id: str) -> list[Any]:
    found = tracker.client.search_model_versions(f"name = '{endpoint}' and run_id = '{run_id}'")
    return sorted(found, key=lambda version: int(version.version))


def _ensure_registered(tracker: Tracker, endpoint: str) -> None:
    try:
        tracker.client.create_registered_model(endpoint)
    except Exception as error:
        if code(error) != "RESOURCE_ALREADY_EXISTS":
            raise


def _model(tracker: Tracker, run_id: str) -> str:
    run = tracker.client.get_run(run_id)
    ours = run.data.tags.get(RUN_TAG, "")
    found = tracker.models(run.info.experiment_id, ours).get(run_id, [])
    ready = [str(model.model_id) for model in found if model.status == "READY"]
    if not ready:
        raise TrackingError(f"MLflow run {run_id} has no model yet; sync its run first")
    return ready[0]


def has_run(tracker: Tracker, run_id: str) -> bool:
    """Whether this MLflow has a run, and shows it; raises TrackingError where that cannot be told now."""
    try:
        return bool(tracker.client.get_run(run_id).info.lifecycle_stage == "active")
    except Exception as error:
        if code(error) in GONE:
            return False
        raise TrackingError(f"MLflow at {tracker.uri} cannot return run {run_id}: {error}") from error


def champion(tracker: Tracker, endpoint: str) -> str | None:
    """Return the MLflow run id of the endpoint's champion, or None; raises TrackingError."""
    try:
        return str(tracker.client.get_model_version_by_alias(endpoint, ALIAS).run_id)
    except Exception as error:
        if code(error) in GONE:
            return None
        raise TrackingError(
            f"MLflow at {tracker.uri} cannot return {endpoint}'s champion: {error}"
        ) from error


def clear_champion(tracker: Tracker, endpoint: str) -> None:
    """Delete the alias when the endpoint is deleted; its versions stay. Raises TrackingError."""
    try:
        tracker.client.delete_registered_model_alias(endpoint, ALIAS)
    except Exception as error:
        if code(error) not in GONE:
            raise TrackingError(
                f"MLflow at {tracker.uri} did not delete {endpoint}'s champion: {error}"
            ) from error
