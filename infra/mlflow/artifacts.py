"""Models that lie in an MLflow server: downloaded, never loaded."""

import os
from pathlib import Path

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow.address import LOG_IN
from tidegate.infra.mlflow.failures import code
from tidegate.infra.mlflow.tracking import CLIENT, gc_paused

SCHEMES = ("models:/", "runs:/")


def download_model(uri: str, address: str, folder: Path) -> Path:
    """Download a model's files.

    Args:
        uri: the MLflow server, without user and password; these are in the environment, see `address.outside`.
        address: models:/NAME/VERSION, models:/NAME@ALIAS, or runs:/ID/PATH.
        folder: where they go; created.

    Returns:
        The folder of the files.

    Raises:
        TrackingError: there is no such model, or the server cannot be reached, or wants a login.
    """
    for name, value in CLIENT.items():
        os.environ.setdefault(name, value)
    with gc_paused():
        import mlflow
        from mlflow.artifacts import download_artifacts
    # The two arguments of these names do not reach the registry: MLflow 3.17 looks for aliases in a database here.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    # A bar for each file would stand between lines of ours.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        return Path(
            download_artifacts(artifact_uri=address, dst_path=str(folder), tracking_uri=uri, registry_uri=uri)
        )
    except Exception as error:
        refused = code(error) in ("UNAUTHENTICATED", "PERMISSION_DENIED") or "401" in str(error)
        fix = LOG_IN if refused else "look for its name, version or alias in MLflow's UI"
        raise TrackingError(
            f"MLflow at {uri} has no model to download at {address}: {' '.join(str(error).split())[:300]}; expected "
            f"models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID/PATH; {fix}"
        ) from error
