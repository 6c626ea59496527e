"""A release as a folder that runs without Tidegate: its own test passes there, and fails where an answer differs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tidegate.pipelines.commands.endpoints.eject import eject
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.state.home import Home

FILES = {
    "Dockerfile",
    "README.md",
    "bundle",
    "example.json",
    "golden.json",
    "release.json",
    "requirements.txt",
}
FILES |= {"server.py", "test_golden.py", "tidegate"}


@pytest.fixture(scope="module")
def folder(shared: Cli, digits: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of `digits`, ejected."""
    folder = tmp_path_factory.mktemp("ejected") / "digits"
    made = eject(Home(shared.home), "digits", str(folder)).data
    assert made == {"endpoint": "digits", "release": digits["release"], "folder": str(folder), "golden": 32}
    return folder


def _golden(folder: Path, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    """Run the folder's own test."""
    argv = [python, "test_golden.py"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_its_golden_rows_are_answered_as_the_trained_model_did(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    code = "import tidegate.serving.inference.predictor as own; print(own.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()).is_relative_to(folder)  # its own copy, not what is installed here
    done = _golden(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "32 golden rows are answered as the trained model did, within 0.0001\n"


def test_a_wrong_answer_fails_its_test(folder: Path) -> None:
    path = folder / "golden.json"
    before = path.read_text()
    known = json.loads(before)
    known["answers"][3]["probabilities"][2] += 2 * known["tolerance"]
    path.write_text(json.dumps(known))
    try:
        done = _golden(folder)
    finally:
        path.write_text(before)
    assert done.returncode == 1 and "AssertionError: row 3: " in done.stderr


def test_its_page_and_its_requirements_are_complete(folder: Path) -> None:
    assert "$" not in (folder / "Dockerfile").read_text()
    assert "# digits, release 1" in (folder / "README.md").read_text()
    pins = (folder / "requirements.txt").read_text().splitlines()
    packages = ["numpy", "onnxruntime", "pillow", "pydantic", "starlette", "uvicorn"]
    assert [pin.partition("==")[0] for pin in pins] == packages


def test_no_file_is_replaced_and_names_are_known(shared: Cli, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds files; expected a new or an empty folder"):
        eject(Home(shared.home), "digits", str(folder))
    with pytest.raises(UnknownNameError, match='no endpoint "digist" here; did you mean "digits"'):
        eject(Home(shared.home), "digist", str(tmp_path / "other"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/inside cannot be written: Not a directory"):
        eject(Home(shared.home), "digits", str(tmp_path / "file/inside"))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
def test_it_runs_where_tidegate_is_not_installed(runtime: str, cli: Cli, tmp_path: Path) -> None:
    cli.ok("submit", "digits", "--set", "training.epochs=3", "--set", f"serving.runtime={runtime}")
    cli.ok("eject", "digits", str(tmp_path / "out"))
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [
        str(venv / "bin/python"),
        "-m",
        "pip",
        "install",
        "-q",
        "-r",
        str(tmp_path / "out/requirements.txt"),
    ]
    subprocess.run(pip, check=True)
    python = str(venv / "bin/python")
    probe = "import importlib.metadata as known; known.version('tidegate')"
    missing = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    assert "PackageNotFoundError" in missing.stderr
    done = _golden(tmp_path / "out", python)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("32 golden rows are answered as the trained model did")
