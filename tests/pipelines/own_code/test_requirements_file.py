"""Each line of a requirements file counts or is refused in words."""

from pathlib import Path

import pytest

from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.planning.project.requirements_file import Requirements, read_requirements

PROJECT = '[project]\nname = "churn"\nversion = "1"\ndependencies = ["tinyone>=1"]\n'
EXTRA = '[project.optional-dependencies]\ntrain = ["tinytwo"]\n'


def written(folder: Path, *lines: str) -> Path:
    file = folder / "requirements.txt"
    file.write_text("\n".join([*lines, ""]))
    return file


def test_lines_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("tinytwo ; python_version > '3'\n-cbounds.txt\n-f wheels\n")
    (tmp_path / "more" / "bounds.txt").write_text("numpy<3\n")
    file = written(
        tmp_path,
        "--index-url=https://${USER}@one/simple  # ours",
        "--extra-index-url https://two/simple",
        "--trusted-host two",
        "--only-binary=:all:",
        "tinyone==1.2.0 \\",
        "    --hash=sha256:00",
        "--requirement more/base.txt",
    )
    assert read_requirements(file) == Requirements(
        ("tinyone==1.2.0      --hash=sha256:00", "tinytwo ; python_version > '3'"),
        ("numpy<3",),
        (
            "--index-url https://${USER}@one/simple",
            "--extra-index-url https://two/simple",
            "--trusted-host two",
            f"--find-links {tmp_path / 'more' / 'wheels'}",
        ),
    )


def test_the_project_itself_requires_what_its_pyproject_says(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT + EXTRA)
    assert read_requirements(written(tmp_path, "-e .")).required == ("tinyone>=1",)
    assert read_requirements(written(tmp_path, "-e .[train]")).required == ("tinyone>=1", "tinytwo")
    with pytest.raises(ExperimentError, match=r"has no extra 'test'; expected one of train"):
        read_requirements(written(tmp_path, ".[test]"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-e .", r"pyproject\.toml cannot be read: No such file"),
        ("-r none.txt", r"none\.txt cannot be read: No such file"),
        ("-c none.txt", r"none\.txt cannot be read: No such file"),
        ("-e ./other", r"'\./other' .* is an address or a path"),
        ("./wheels/tinyone-1.2.0-py3-none-any.whl", "is an address or a path"),
        ("tinyone @ https://me:hunter2@one/tinyone.whl", "is an address or a path"),
        ("git+https://one/tinyone", "is an address or a path"),
        ("--no-binary :all:", r"is no option that counts here .*expected packages of an index"),
        ("--index-url", "is no option that counts here"),
    ],
)
def test_what_cannot_be_honoured_is_refused(line: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=says) as caught:
        read_requirements(written(tmp_path, line))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('dynamic = ["dependencies"]\n', r"says by project\.dynamic what is installed"),
        ('[tool.uv.sources]\ntinyone = {path = "x"}\n', r"says by tool\.uv\.sources .*name the uv\.lock"),
    ],
)
def test_a_pyproject_that_names_them_elsewhere_is_refused(more: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT + more)
    with pytest.raises(ExperimentError, match=says):
        read_requirements(tmp_path / "pyproject.toml")
