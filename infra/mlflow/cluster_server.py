"""The MLflow server of a cluster: runs in PostgreSQL, artifacts in a bucket; clients need no keys of it.

`python -m tidegate.infra.mlflow.cluster_server --database URI --password-file F --artifacts URL --port P` is what
the Deployment `mlflow` runs: the application of `mlflow.server`, one process. Against DNS rebinding, MLflow accepts
only known host names: its Service's, those of a port-forward, and that of $TIDEGATE_MLFLOW_URL.
"""

import argparse
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow.server import run_application

WAIT_S = 120.0  # a new database first creates its files
LOOPBACK = ("localhost:*", "127.0.0.1:*")


def host_settings(namespace: str, port: int, opened: str) -> Mapping[str, str]:
    """Return the environment variables that tell MLflow which Host and Origin headers to accept.

    Args:
        namespace: the namespace of the Service `mlflow`.
        port: the Service's port.
        opened: the URL at which people open MLflow; "" if they only forward a port.
    """
    names = [
        "mlflow",
        f"mlflow.{namespace}",
        f"mlflow.{namespace}.svc",
        f"mlflow.{namespace}.svc.cluster.local",
    ]
    hosts = [*LOOPBACK, *(f"{name}:{port}" for name in names)]
    found = {"MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts)}
    if opened:
        url = urlsplit(opened)
        found["MLFLOW_SERVER_ALLOWED_HOSTS"] += f",{url.netloc}"
        found["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = f"{url.scheme}://{url.netloc}"
    return found


def write_password_file(password: Path, folder: Path) -> None:
    """Write the password where the PostgreSQL client reads it: a file with mode 0600, not the URI.

    Raises:
        TrackingError: `password` cannot be read.
    """
    try:
        words = password.read_text().strip()
    except OSError as error:
        raise TrackingError(
            f"{password}: {error.strerror}; expected the database's password; mount the Secret mlflow-db there"
        ) from error
    escaped = words.replace("\\", "\\\\").replace(":", "\\:")  # PostgreSQL manual, "The Password File"
    target = folder / "pgpass"
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    target.write_text(f"*:*:*:*:{escaped}\n")
    os.environ["PGPASSFILE"] = str(target)


def prepare(database_uri: str, wait_s: float = WAIT_S) -> None:
    """Wait until the database answers, and migrate the tables of an older MLflow.

    Raises:
        TrackingError: it does not answer in time, or refuses the password.
    """
    from mlflow.db import upgrade
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import OperationalError

    engine = create_engine(database_uri)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            tables = inspect(engine).get_table_names()
            break
        except OperationalError as error:
            refused = "password authentication failed" in str(error.orig)
            if refused or time.monotonic() > deadline:
                raise TrackingError(_no_database(database_uri, error, refused)) from error
        time.sleep(1.0)
    engine.dispose()
    if "alembic_version" in tables:
        upgrade.main([database_uri], standalone_mode=False)  # does nothing where they are up to date


def _no_database(uri: str, error: Exception, refused: bool) -> str:
    words = " ".join(str(getattr(error, "orig", error)).split())
    fix = (
        "it keeps the password that it was created with: put that one into the Secret mlflow-db again, or change it "
        "in the database (ALTER USER mlflow PASSWORD ...)"
        if refused
        else "check that its pod runs: kubectl get pods; kubectl logs mlflow-db-0"
    )
    return f"MLflow's database {uri} cannot be used: {words}; {fix}"


class ProxiedArtifacts:
    """MLflow's S3 artifact repository without presigned URLs.

    By default MLflow sends its clients directly to the S3 server for every download and for large uploads, by the
    address that the server uses, such as http://s3.storage:9000. A client outside the cluster cannot resolve it, and
    retries for ten minutes. This class is not an instance of the mixins that presign URLs, so MLflow requests none.
    """

    def __init__(self, repository: Any) -> None:
        self._repository = repository

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)


def use_s3(endpoint: str | None) -> None:
    """Make MLflow use an S3 server that is not AWS; None changes nothing."""
    if not endpoint:
        return
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    def proxied(*args: Any, **kwargs: Any) -> ProxiedArtifacts:
        return ProxiedArtifacts(S3ArtifactRepository(*args, **kwargs))

    # Such a server may refuse the checksums that boto3 adds by default.
    os.environ |= {"MLFLOW_S3_ENDPOINT_URL": endpoint, "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    _artifact_repository_registry.register("s3", proxied)


def use_bucket(artifacts: str) -> None:
    """Make MLflow reach Google's or Azure's cloud as the store does; nothing changes for s3://."""
    scheme = artifacts.partition("://")[0]
    if scheme not in ("gs", "az"):
        return
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry

    from tidegate.infra.mlflow.bucket_artifacts import BucketArtifacts

    _artifact_repository_registry.register(scheme, BucketArtifacts)


def main() -> None:
    """Start the server; a problem with the database ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tidegate.infra.mlflow.cluster_server", description="MLflow in a cluster."
    )
    parser.add_argument(
        "--database", required=True, metavar="URI", help="postgresql+psycopg2://USER@HOST:PORT/NAME"
    )
    parser.add_argument("--password-file", required=True, type=Path, help="the file with its password")
    parser.add_argument("--artifacts", required=True, metavar="URL", help="s3://…, gs://… or az://…")
    parser.add_argument("--port", type=int, default=5000)
    given = parser.parse_args()
    opened = os.environ.get("TIDEGATE_MLFLOW_URL", "")
    os.environ |= host_settings(os.environ.get("NAMESPACE", "tidegate"), given.port, opened)
    try:
        write_password_file(given.password_file, Path(os.environ.get("TMPDIR") or "/tmp"))
        prepare(given.database)
        use_s3(os.environ.get("TIDEGATE_S3_ENDPOINT"))
        use_bucket(given.artifacts)
        run_application(given.database, given.artifacts, socket.create_server(("", given.port)))
    except TrackingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
