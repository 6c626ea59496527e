"""A project's requirements: pinned with hashes, installed once beside ours, and refused where they cannot be."""

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.pipelines.own_code.wheels import make_wheel, project_with_wheels
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.planning.project import installer
from tidegate.pipelines.planning.project.environment import environment_folder, make_environment
from tidegate.pipelines.planning.project.lock import lock_of
from tidegate.pipelines.planning.project.parts import Lock
from tidegate.pipelines.state.home import Home

TOOLS = [tool for tool in ("uv", "pip") if shutil.which(tool)]


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each tool that is here, as if the other were not."""
    found = shutil.which(request.param)
    monkeypatch.setattr(installer.shutil, "which", lambda name: found if name == request.param else None)
    yield request.param


@pytest.mark.usefixtures("tool")
def test_what_is_not_installed_is_pinned_and_installed_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = project_with_wheels(tmp_path, "tinyone  # a comment", "numpy")
    lock = lock_of(file, home)
    assert lock.versions == {"tinyone": "1.2.0", "tinytwo": "1.5.0"}
    assert all(len(pin.hashes) == 1 and pin.hashes[0].startswith("sha256:") for pin in lock.pins)
    make_environment(home, lock, file)
    folder = environment_folder(home, lock.digest)
    assert (folder / "tinyone" / "__init__.py").read_text() == "VERSION = '1.2.0'\n"
    shutil.rmtree(tmp_path / "wheels")
    assert lock_of(file, home) == lock  # kept in the home
    make_environment(home, lock, file)


@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["notthere"], "notthere"),
        (["tinyone>9"], "tinyone>9"),
        (["onlysource"], "onlysource"),
        (["tinyone==1.2.0", "tinytwo<1"], "tinytwo"),
        (["tiny one"], "tiny one"),
    ],
)
def test_what_cannot_be_met_is_told(lines: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(
        ExperimentError, match=r"code\.requirements: they cannot be installed: .*expected packages"
    ) as caught:
        lock_of(project_with_wheels(tmp_path, *lines), Home(tmp_path / "home"))
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("tool")
def test_a_package_of_ours_is_never_changed(tmp_path: Path) -> None:
    with pytest.raises(
        ExperimentError, match=rf"orjson 1\.9\.0 in place of {version('orjson')}, which is installed"
    ):
        lock_of(project_with_wheels(tmp_path, "wantsold"), Home(tmp_path / "home"))


@pytest.mark.usefixtures("tool")
def test_a_wheel_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = project_with_wheels(tmp_path, "tinytwo")
    lock = lock_of(file, home)
    (tmp_path / "wheels" / "tinytwo-1.5.0-py3-none-any.whl").write_bytes(b"PK\5\6" + bytes(18))
    with pytest.raises(ExperimentError, match=r"code\.requirements: they cannot be installed"):
        make_environment(home, lock, file)
    assert not environment_folder(home, lock.digest).exists()


def test_a_pyproject_names_its_dependencies(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "churn"\nversion = "1"\ndependencies = ["numpy", "pyyaml"]\n')
    assert lock_of(file, home) == Lock()
    file.write_text("[tool.poetry]\n")
    with pytest.raises(ExperimentError, match=r"has no \[project\] table"):
        lock_of(file, home)
    with pytest.raises(ExperimentError, match="cannot be read: No such file"):
        lock_of(tmp_path / "none.txt", home)


def test_included_files_count(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = project_with_wheels(tmp_path, "-r more.txt")
    (tmp_path / "more.txt").write_text("tinytwo\n")
    assert lock_of(file, home).versions == {"tinytwo": "1.5.0"}


@pytest.mark.usefixtures("tool")
def test_constraints_and_prereleases_count(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "tinytwo", "1.4.0")
    make_wheel(tmp_path / "wheels", "tinytwo", "1.6.0rc1")
    bounds = tmp_path / "bounds" / "constraints.txt"
    bounds.parent.mkdir()
    bounds.write_text("tinytwo<1.5\n")
    versions = []
    for line in ("-c bounds/constraints.txt", "", "--pre"):
        lock = lock_of(project_with_wheels(tmp_path, line, "tinyone"), Home(tmp_path / "home"))
        versions.append(lock.versions["tinytwo"])
    assert versions == ["1.4.0", "1.5.0", "1.6.0rc1"]
