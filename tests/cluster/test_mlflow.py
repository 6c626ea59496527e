"""MLflow in the cluster: PostgreSQL behind it, artifacts through it, its Host check, its backup and the way back."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.jobs import is_finished
from tidegate.infra.mlflow.tracking import Tracker
from tidegate.infra.store.s3_bucket import S3Bucket
from tidegate.infra.testbed import install
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.running import kubectl

from .conftest import wait_for

pytestmark = pytest.mark.cluster
HERE = ("-n", install.NAMESPACE)
EXPERIMENT = "test-mlflow"
LARGE = 120 << 20  # from 100 MiB on MLflow's clients ask for parts
SQL = "select name from experiments where name = 'test-mlflow'"


def psql(layout: Layout, database: str, sql: str) -> str:
    words = ("exec", "mlflow-db-0", "--", "psql", "-U", "mlflow", "-d", database, "-Atc", sql)
    return kubectl(layout, *HERE, *words).strip()


@pytest.fixture(scope="module")
def tracker(installed: Layout) -> Tracker:
    assert installed.kubeconfig.exists()
    return Tracker(install.MLFLOW_URL)


def test_artifacts_of_any_size_come_and_go_without_s3_keys(
    tracker: Tracker, installed: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    run = tracker.client.create_run(tracker.experiment(EXPERIMENT)).info
    assert run.artifact_uri.startswith("mlflow-artifacts:/")
    small, large = tmp_path / "small.txt", tmp_path / "large.bin"
    small.write_text("hello")
    with large.open("wb") as file:
        file.truncate(LARGE)
    for file_path in (small, large):
        tracker.client.log_artifact(run.run_id, str(file_path))
    assert (
        Path(tracker.client.download_artifacts(run.run_id, "small.txt", str(tmp_path))).read_text() == "hello"
    )
    back = tmp_path / "back"
    back.mkdir()
    assert Path(tracker.client.download_artifacts(run.run_id, "large.bin", str(back))).stat().st_size == LARGE
    assert psql(installed, "mlflow", SQL) == EXPERIMENT
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(install.credentials(installed)))
    bucket = S3Bucket("s3://tidegate/testbed/mlflow", endpoint="http://127.0.0.1:30900")
    assert sum(found.size for found in bucket.list_objects() if run.run_id in found.key) == LARGE + 5
    tracker.client.delete_run(run.run_id)


@pytest.mark.parametrize("host", ["mlflow:5000", "mlflow.tidegate.svc.cluster.local:5000", "127.0.0.1:30500"])
def test_it_answers_to_its_own_names(installed: Layout, host: str) -> None:
    assert installed.kubeconfig.exists()
    assert json.loads(search(host))["experiments"]


def test_it_answers_to_no_other_name(installed: Layout) -> None:
    assert installed.kubeconfig.exists()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        search("rebound.example.com")


def search(host: str) -> bytes:
    url = f"{install.MLFLOW_URL}/api/2.0/mlflow/experiments/search?max_results=1"
    request = urllib.request.Request(url, headers={"Host": host})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


def test_a_backup_can_be_restored(
    tracker: Tracker, installed: Layout, api: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.experiment(EXPERIMENT)
    kubectl(installed, *HERE, "delete", "job", "test-backup", "--ignore-not-found")
    kubectl(installed, *HERE, "create", "job", "test-backup", "--from=cronjob/mlflow-backup")
    wait_for("the backup", lambda: is_finished(api.get("Job", "test-backup") or {"status": {}}))
    (where, *_) = kubectl(installed, *HERE, "logs", "job/test-backup", "-c", "upload").split()
    kubectl(installed, *HERE, "delete", "job", "test-backup")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(install.credentials(installed)))
    folder, _, name = where.rpartition("/")
    dump = tmp_path / "mlflow.dump"
    with dump.open("wb") as file:
        assert S3Bucket(folder, endpoint="http://127.0.0.1:30900").download(name, file)
    kubectl(installed, *HERE, "cp", str(dump), "mlflow-db-0:/tmp/back.dump")
    psql(installed, "mlflow", "drop database if exists restored")
    psql(installed, "mlflow", "create database restored")
    restore = ("pg_restore", "-U", "mlflow", "-d", "restored", "--exit-on-error", "/tmp/back.dump")
    kubectl(installed, *HERE, "exec", "mlflow-db-0", "--", *restore)
    assert psql(installed, "restored", SQL) == EXPERIMENT
    psql(installed, "mlflow", "drop database restored")


def test_runs_outlive_the_pods(tracker: Tracker, installed: Layout, api: Cluster) -> None:
    """A database that is killed comes back with its data, and MLflow finds it again by itself."""
    tracker.experiment(EXPERIMENT)
    before = api.get("Pod", "mlflow-db-0")
    assert before is not None
    kubectl(installed, *HERE, "delete", "pod", "mlflow-db-0")
    kubectl(installed, *HERE, "rollout", "status", "statefulset/mlflow-db", "--timeout=120s")
    wait_for("MLflow's answer", answers, 60)
    assert psql(installed, "mlflow", SQL) == EXPERIMENT
    after = api.get("Pod", "mlflow-db-0")
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


def answers() -> bool:
    try:
        return bool(search("mlflow:5000"))
    except OSError:
        return False


def test_the_manifests_applied_again_change_nothing(installed: Layout) -> None:
    """`kubectl diff` ends with 1 where something would change; the examples are ones that a server takes."""
    overlays = install.MANIFESTS / "overlays"
    kubectl(installed, "diff", "-k", str(overlays / "testbed"))
    for example in ("production", "identity"):
        text = kubectl(installed, "kustomize", str(overlays / example))
        words = kubectl(
            installed, "create", "--dry-run=client", "--validate=strict", "-f", "-", "-o", "name", stdin=text
        )
        assert "deployment.apps/mlflow" in words.split()
        assert ("tidegate-store" in text) == (example == "production")
        assert text.count("eks.amazonaws.com/role-arn") == (5 if example == "identity" else 0)
