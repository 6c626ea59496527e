"""What a model file reads is part of its identity: seen while it runs, looked at by the next submit."""

import importlib
import runpy
import sys
from pathlib import Path

import pytest

from tidegate.infra.store import Store, open_store
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.state.files_read import digest_of_file, keep_files_read, model_identity
from tidegate.pipelines.steps.trials.file_recorder import FileRecorder

FILE = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def test_identity_follows_the_files(store: Store, tmp_path: Path) -> None:
    read = tmp_path / "helpers.py"
    read.write_text("WIDTH = 4\n")
    assert model_identity(store, FILE) == (FILE, [])
    keep_files_read(store, FILE, {str(read): digest_of_file(read)})
    assert model_identity(store, FILE) == (FILE, [])

    read.write_text("WIDTH = 8\n")
    second, changed = model_identity(store, FILE)
    assert second != FILE and changed == [str(read)]
    other = tmp_path / "more.json"
    other.write_text("1")
    keep_files_read(store, second, {str(path): digest_of_file(path) for path in (read, other)})
    assert model_identity(store, FILE)[0] == second
    other.unlink()
    third, changed = model_identity(store, FILE)
    assert third not in (FILE, second) and changed == [str(other)]

    read.write_text("WIDTH = 4\n")
    assert model_identity(store, FILE) == (FILE, []), "what was trained before is found again"


def test_trials_of_one_identity_read_the_same(store: Store) -> None:
    keep_files_read(store, FILE, {"/one": "1"})
    keep_files_read(store, FILE, {"/two": "2"})
    keep_files_read(store, FILE, {"/one": "1", "/two": "2"})
    with pytest.raises(PipelineError, match="/two was changed while the run used it"):
        keep_files_read(store, FILE, {"/two": "3"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file that imports a module, reads a file through a library, and writes another."""
    (tmp_path / "own_helpers.py").write_text("WIDTH = 4\n")
    (tmp_path / "sizes.npy").write_bytes(b"")
    (tmp_path / "state.txt").write_text("1")
    (tmp_path / "my_model.py").write_text(
        "import numpy\nimport own_helpers\nfrom pathlib import Path\nHERE = Path(__file__).parent\n"
        "def build():\n    numpy.save(HERE / 'log.npy', 1)\n    return numpy.fromfile(HERE / 'sizes.npy')\n"
        "def count():\n    path = HERE / 'state.txt'\n    path.write_text(path.read_text() + '1')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_helpers", None)
    return tmp_path


def test_what_the_users_code_reads_is_seen(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    recorder = FileRecorder((project, project), tmp_path_factory.mktemp("home"))
    with recorder.watching():
        model = runpy.run_path(str(project / "my_model.py"))
        model["build"]()
    read = {Path(path).name for path in recorder.files()}
    assert {"own_helpers.py", "sizes.npy"} <= read and "log.npy" not in read
    assert recorder.both() == []


def test_a_change_while_it_is_used_is_an_error(project: Path) -> None:
    recorder = FileRecorder((project, project), project / "home")
    with recorder.watching():
        importlib.import_module("own_helpers")
    assert str(project / "own_helpers.py") in recorder.files()
    (project / "own_helpers.py").write_text("WIDTH = 16\n")
    with pytest.raises(PipelineError, match=r"own_helpers\.py was changed while the run used it"):
        recorder.files()


def test_a_file_that_is_read_and_written_is_told(project: Path) -> None:
    recorder = FileRecorder((project, project), project / "home")
    with recorder.watching():
        runpy.run_path(str(project / "my_model.py"))["count"]()
    assert recorder.both() == [str(project / "state.txt")]
    assert str(project / "state.txt") not in recorder.files()
