"""What the in-cluster MLflow server is told before it starts; the server itself is tried in tests/cluster."""

import os
from pathlib import Path

import pytest

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow.cluster_server import host_settings, prepare, write_password_file


def test_it_answers_to_its_service_a_port_forward_and_the_address_people_open() -> None:
    told = host_settings("ml", 5000, "https://mlflow.example.com")
    hosts = told["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow:5000", "mlflow.ml:5000", "mlflow.ml.svc.cluster.local:5000"} <= set(hosts)
    assert {"localhost:*", "127.0.0.1:*", "mlflow.example.com"} <= set(hosts)
    assert told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.com"
    assert "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS" not in host_settings("ml", 5000, "")


def test_the_password_is_found_by_the_client_and_read_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "")
    given = tmp_path / "password"
    given.write_text("a:b\\c\n")
    write_password_file(given, tmp_path)
    written = Path(os.environ["PGPASSFILE"])
    assert written.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_missing_password_names_its_secret(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="Secret mlflow-db"):
        write_password_file(tmp_path / "none", tmp_path)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of MLflow's own tables
def test_the_tables_of_an_older_mlflow_are_brought_up_to_date(tmp_path: Path) -> None:
    """SQLite stands for PostgreSQL here: the migrations are MLflow's own.

    MLflow is imported here, as every process of `make test` would import it to collect this file: 5 s of CPU time.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
    from sqlalchemy import create_engine, inspect

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    prepare(uri)  # an empty database is left to MLflow
    engine = create_engine(uri)
    assert inspect(engine).get_table_names() == []
    InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    latest, older = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()][:2]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, older)
    assert utils._get_schema_version(engine) == older
    prepare(uri)
    assert utils._get_schema_version(engine) == latest
    engine.dispose()
