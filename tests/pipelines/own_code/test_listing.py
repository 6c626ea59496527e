"""Which files of a project a run takes along: in a repository, outside of one, and without git."""

import subprocess
from pathlib import Path

import pytest

from tidegate.pipelines.planning.project import listing
from tidegate.pipelines.planning.project.listing import project_files

FILES = {
    ".gitignore": "build/\n*.log\nforced.bin\n",
    ".tidegateignore": "notebooks/\nraw.bin\n",
    "churn/net.py": "",
    "churn/.gitignore": "cache.npy\n",
    "churn/cache.npy": "",
    "notebooks/look.ipynb": "",
    "raw.bin": "",
    "forced.bin": "",
    "build/x.py": "",
    "run.log": "",
    ".venv/lib/a.py": "",
    "env/pyvenv.cfg": "",
    "env/lib/b.py": "",
    "churn/__pycache__/net.cpython-311.pyc": "",
    "ümläut name.txt": "",
}
KEPT = {".gitignore", ".tidegateignore", "churn/.gitignore", "churn/net.py", "ümläut name.txt"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def test_in_a_repository_git_decides(project: Path) -> None:
    git(project, "init")
    assert set(project_files(project)) == KEPT
    git(project, "add", "-f", "forced.bin", "raw.bin", "churn/net.py")
    assert set(project_files(project)) == KEPT | {"forced.bin"}  # tracked, and so not ignored by git


def test_a_part_of_a_repository_is_a_project_too(project: Path) -> None:
    git(project, "init")
    assert set(project_files(project / "churn")) == {".gitignore", "net.py"}


def test_outside_of_a_repository_ignore_files_count(project: Path) -> None:
    assert set(project_files(project)) == KEPT
    assert not (project / ".git").exists()


def test_without_git_all_but_the_folders_of_tools(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing.shutil, "which", lambda _: None)
    tools = {name for name in FILES if name.startswith((".venv", "env")) or "__pycache__" in name}
    assert set(project_files(project)) == FILES.keys() - tools


def test_a_repository_inside_counts(project: Path) -> None:
    git(project, "init")
    (project / "vendored").mkdir()
    (project / "vendored" / "lib.py").write_text("")
    git(project / "vendored", "init")
    assert set(project_files(project)) == KEPT | {"vendored/lib.py"}


def test_links_inside_are_followed_and_what_is_no_code_is_left_out(project: Path) -> None:
    (project / "link.py").symlink_to("churn/net.py")
    (project / "same").symlink_to("churn")
    found = project_files(project, [project / "ümläut name.txt", project / "nowhere"])
    assert set(found) == KEPT - {"ümläut name.txt"} | {"link.py", "same/net.py", "same/.gitignore"}


def test_a_hook_of_git_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "init")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert set(project_files(project)) == KEPT
