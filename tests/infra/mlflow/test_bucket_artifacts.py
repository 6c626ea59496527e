"""MLflow's artifacts in Google's and Azure's clouds, as its server asks for them."""

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tests.bucket_servers import BucketServer
from tidegate.infra.mlflow.cluster_server import use_bucket


@pytest.mark.parametrize("cloud", ["google", "azure"])
def test_files_come_back_are_listed_and_go(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: BucketServer = request.getfixturevalue(cloud)
    use_bucket(server.url(tmp_path.name))
    kept = get_artifact_repository(server.url(f"{tmp_path.name}/mlflow"))
    files = {"model.keras": b"weights", "plots/a b.png": b"a", "plots/more/b.png": b""}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    kept.log_artifacts(str(tmp_path / "in"), "1/run")
    kept.log_artifact(str(tmp_path / "in" / "model.keras"), "1/run-of-others")

    def listed(path: str | None) -> dict[str, int | None]:
        return {found.path: found.file_size for found in kept.list_artifacts(path)}

    assert listed("1") == {"1/run": None, "1/run-of-others": None}
    assert listed("1/run") == {"1/run/model.keras": 7, "1/run/plots": None}
    assert listed("1/run/model.keras") == {}
    copy = Path(kept.download_artifacts("1/run", str(tmp_path)))
    assert {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*.*")} == files
    with pytest.raises(MlflowException, match="there is no artifact 1/run/nothing"):
        kept.download_artifacts("1/run/nothing", str(tmp_path))
    kept.delete_artifacts("1/run")
    assert listed("1") == {"1/run-of-others": None}
