"""MLflow's artifacts in a bucket of Google's or Azure's cloud, by the library that the store has."""

import posixpath
from pathlib import Path

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from tidegate.infra.store import open_bucket


class BucketArtifacts(ArtifactRepository):  # type: ignore[misc]  # MLflow has no types
    """Artifacts below gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; every method may raise StoreError."""

    def __init__(self, artifact_uri: str, *given: object, **options: object) -> None:
        super().__init__(artifact_uri, *given, **options)
        self._bucket = open_bucket(artifact_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Upload a file under its name into a folder."""
        self._upload(Path(local_file), artifact_path, Path(local_file).name)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Upload the files of a folder and below."""
        for path in sorted(Path(local_dir).rglob("*")):
            if path.is_file():
                self._upload(path, artifact_path, path.relative_to(local_dir).as_posix())

    def _upload(self, path: Path, folder: str | None, name: str) -> None:
        with path.open("rb") as file:
            self._bucket.upload(file, posixpath.join(folder or "", name))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """The files and folders of a folder; nothing for a file."""
        prefix, found = f"{path}/" if path else "", {}
        for entry in self._bucket.list_objects(prefix):
            name, below, _ = entry.key.removeprefix(prefix).partition("/")
            found[name] = FileInfo(prefix + name, bool(below), None if below else entry.size)
        return [found[name] for name in sorted(found)]

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        with Path(local_path).open("wb") as file:
            if not self._bucket.download(remote_file_path, file):
                raise MlflowException(f"there is no artifact {remote_file_path}", RESOURCE_DOES_NOT_EXIST)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file, or a folder and all below."""
        prefix = f"{artifact_path}/" if artifact_path else ""
        for entry in list(self._bucket.list_objects(prefix)):
            self._bucket.delete(entry.key)
        if artifact_path:
            self._bucket.delete(artifact_path)
