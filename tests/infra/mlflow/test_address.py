"""An MLflow of others: behind a login and a path; its password is used and never shown."""

import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.conftest import Lossy, Told
from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import server
from tidegate.infra.mlflow.address import PASSWORD, TOKEN, URI, USER, outside
from tidegate.infra.mlflow.tracking import Tracker, check_login


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URI, USER, PASSWORD, TOKEN):
        monkeypatch.setenv(name, "")  # so that it is as before in the end, whoever sets it
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("http://alice:s3cret@host:5000/mlflow/", "http://host:5000/mlflow"),
        ("https://alice:s%33cret@host", "https://host"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
    ],
)
def test_an_address_has_no_password(given: str, clean: str, tmp_path: Path) -> None:
    os.environ[URI] = given
    assert server.ensure(tmp_path) == server.url(tmp_path) == outside() == clean
    has_login = "s" in given and "alice" in given
    assert (os.environ.get(USER), os.environ.get(PASSWORD)) == (
        ("alice", "s3cret") if has_login else (None, None)
    )


def test_a_user_alone_is_refused() -> None:
    os.environ[URI] = "http://alice@host/mlflow"
    with pytest.raises(TrackingError, match=r"for http://host/mlflow has a user or a password alone"):
        outside()


def test_a_run_reaches_a_server_behind_a_login_and_a_path(
    lossy: Lossy, tracker: Tracker, told: Callable[[], Told], tmp_path: Path
) -> None:
    lossy.prefix = "/mlflow"
    lossy.login = "Basic " + b64encode(b"alice:s3cret").decode()
    url = f"{lossy.url}/mlflow"
    with pytest.raises(
        TrackingError, match="refuses no user with HTTP 401; expected one that may write; set"
    ):
        check_login(url)
    run = told()
    run.write()
    assert "refuses no user with HTTP 401" in run.follow(url, patience_s=0.0).problem
    os.environ[URI] = url.replace("//", "//alice:s3cret@")
    assert server.ensure(tmp_path) == url
    check_login(url)
    assert run.follow(url).synced
    run.check(tracker)
    kept = "".join(path.read_text() for path in run.folder.glob("*.json"))
    assert "s3cret" not in kept

    os.environ |= {PASSWORD: "wrong"}
    with pytest.raises(TrackingError, match="refuses the user alice with HTTP 401"):
        check_login(url)
    os.environ.pop(USER)
    os.environ[TOKEN] = "t0ken"
    lossy.login = "Bearer t0ken"
    check_login(url)
