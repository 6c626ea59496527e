"""What `pip install` brings: one package with its data files, and nothing heavy at its import."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.conftest import ROOT
from tests.models.imports import imported_by

# Files that are no Python, which the code reads at work.
DATA = (
    "pipelines/experiments/*.yaml",
    "pipelines/templates/*",
    "pipelines/templates/ejected/*",
    "infra/manifests/**/*.yaml",
    "infra/images/Dockerfile",
    "infra/images/requirements/*.txt",
)
HEAVY = ("numpy", "pydantic", "yaml", "keras", "tensorflow", "jax", "mlflow", "bentoml", "onnxruntime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel, built as an installer builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


def test_a_wheel_holds_one_package_and_its_metadata(wheel: set[str]) -> None:
    tops = {PurePosixPath(name).parts[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tidegate"}


@pytest.mark.parametrize("pattern", DATA)
def test_a_wheel_holds_the_files_that_the_code_reads(wheel: set[str], pattern: str) -> None:
    files = {path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file()}
    files = {path for path in files if "__pycache__" not in path.parts}
    assert files and {f"tidegate/{path.as_posix()}" for path in files} <= wheel


def test_a_wheel_holds_every_module_but_the_testbed(wheel: set[str]) -> None:
    modules = {
        path for top in ("models", "serving", "pipelines", "infra") for path in Path(ROOT, top).rglob("*.py")
    }
    names = {f"tidegate/{path.relative_to(ROOT).as_posix()}" for path in modules} | {"tidegate/__init__.py"}
    testbed = {name for name in names if name.startswith("tidegate/infra/testbed/")}
    assert testbed and {name for name in wheel if name.endswith(".py")} == names - testbed
    assert not [name for name in wheel if "/testbed/" in name and "/manifests/" not in name]


def test_a_wheel_is_typed(wheel: set[str]) -> None:
    assert "tidegate/py.typed" in wheel


def test_the_command_line_is_the_only_script(wheel: set[str]) -> None:
    assert not [name for name in wheel if ".data/" in name]
    assert [name for name in wheel if name.endswith("/entry_points.txt")]


def test_an_import_of_tidegate_loads_nothing_heavy() -> None:
    assert imported_by("import tidegate", HEAVY) == []
