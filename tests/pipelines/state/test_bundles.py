"""`python -m tidegate.pipelines.state.bundles fetch`: what an init container runs, its exit code and its one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.small_bundles import make_bundle
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import open_bundle


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def digest(home: Home, tmp_path: Path) -> str:
    return keep_bundle(home, make_bundle(tmp_path / "made", "small"))


def fetch(digest: str, folder: Path, store: Path | None) -> "subprocess.CompletedProcess[str]":
    env = {key: value for key, value in os.environ.items() if key != "TIDEGATE_STORE"}
    env |= {"TIDEGATE_STORE": str(store)} if store else {}
    argv = [sys.executable, "-P", "-m", "tidegate.pipelines.state.bundles", "fetch", digest, str(folder)]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_a_bundle_is_laid_out_and_checked(home: Home, digest: str, tmp_path: Path) -> None:
    for _ in range(2):  # a container that is started again finds its folder
        done = fetch(digest, tmp_path / "release", home.path / "store")
        assert (done.returncode, done.stderr) == (0, "")
    assert open_bundle(tmp_path / "release").manifest.name == "small"


def test_a_damaged_object_starts_no_server(home: Home, digest: str, tmp_path: Path) -> None:
    model = max((home.path / "store" / "objects").rglob("*.onnx"))
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    done = fetch(digest, tmp_path / "release", home.path / "store")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert not (tmp_path / "release").exists()


@pytest.mark.parametrize(
    ("known", "words"),
    [(True, "the store has no bundle 000000000000"), (False, "$TIDEGATE_STORE is not set")],
)
def test_what_is_missing_is_said_in_one_line(home: Home, tmp_path: Path, known: bool, words: str) -> None:
    done = fetch("0" * 64, tmp_path / "release", home.path / "store" if known else None)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_where_a_signature_is_asked_for_none_is_refused(
    home: Home, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trusted").mkdir()
    monkeypatch.setenv("TIDEGATE_TRUSTED_KEYS", str(tmp_path / "trusted"))
    done = fetch(digest, tmp_path / "release", home.path / "store")
    assert done.returncode == 1
    assert "has no signature, model.sig; expected one of a trusted key" in done.stderr
