"""What the in-cluster MLflow server is told before it starts; the server itself is tried in tests/cluster."""

import os
from pathlib import Path

import pytest

from infra.errors import TrackingError
from infra.mlflow_cluster import host_checks, use_password


def test_it_answers_to_its_service_a_port_forward_and_the_address_people_open() -> None:
    told = host_checks("ml", 5000, "https://mlflow.example.com")
    hosts = told["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow:5000", "mlflow.ml:5000", "mlflow.ml.svc.cluster.local:5000"} <= set(hosts)
    assert {"localhost:*", "127.0.0.1:*", "mlflow.example.com"} <= set(hosts)
    assert told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.com"
    assert "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS" not in host_checks("ml", 5000, "")


def test_the_password_is_found_by_the_client_and_read_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "")
    given = tmp_path / "password"
    given.write_text("a:b\\c\n")
    use_password(given, tmp_path)
    written = Path(os.environ["PGPASSFILE"])
    assert written.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_missing_password_names_its_secret(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="Secret mlflow-db"):
        use_password(tmp_path / "none", tmp_path)
