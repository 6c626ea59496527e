"""Which files are found on this machine: links, patterns and outputs among them; and files that change meanwhile."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.sharded_prediction.inputs import InputReader, find_inputs, no_endpoint
from tidegate.pipelines.sharded_prediction.listing import check_apart


def found(folder: Path, source: str) -> list[str]:
    files = find_inputs([f"{folder}/{source}"], no_endpoint).files
    return [Path(file.path).relative_to(folder).as_posix() for file in files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data, some of it behind a link."""
    for name in ("in/a.csv", "in/x/b.csv", "in/_old/c.csv", "elsewhere/y/d.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x,y\n1,2\n")
    (tmp_path / "in" / "linked").symlink_to("../elsewhere")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("in", ["in/a.csv", "in/linked/y/d.csv", "in/x/b.csv"]),
        ("in/**/*.csv", ["in/a.csv", "in/linked/y/d.csv", "in/x/b.csv"]),
        ("in/**", ["in/a.csv", "in/linked/y/d.csv", "in/x/b.csv"]),
        ("**/y/*.csv", ["elsewhere/y/d.csv", "in/linked/y/d.csv"]),
        ("in/*/*/*", ["in/linked/y/d.csv"]),
        ("in/_old/*", ["in/_old/c.csv"]),  # named, so it is meant
    ],
)
def test_what_is_found(folder: Path, source: str, names: list[str]) -> None:
    assert found(folder, source) == names


def test_links_that_lead_nowhere_or_back_are_refused(folder: Path) -> None:
    back, nowhere = folder / "in" / "x" / "back", folder / "in" / "x" / "nowhere.csv"
    back.symlink_to("..")
    for source in ("in", "in/**/*.csv"):
        with pytest.raises(UsageError, match="back links to a folder that it is in"):
            found(folder, source)
    back.unlink()
    nowhere.symlink_to("gone.csv")
    with pytest.raises(UsageError, match=r"nowhere\.csv: No such file"):
        found(folder, "in")


@pytest.mark.parametrize(
    ("source", "output", "apart"),
    [
        ("in", "in/out", False),
        ("in", "elsewhere/out", True),
        ("in", "in/_out", True),
        ("in/linked", "elsewhere/y/out", False),
        ("in/*.csv", "in/out", True),
        ("in/*/*.csv", "in/out", False),
        ("s3://one/in", "s3://one/in/out", False),
        ("s3://one/in/", "s3://one/inside", True),
        ("s3://one", "s3://one/out", False),
        ("s3://one/in/*", "s3://one/in/out", True),
        ("s3://one/in/**", "s3://one/in/out", False),
        ("s3://one/in", "s3://two/in/out", True),
        ("in", "s3://one/in", True),
    ],
)
def test_an_output_that_would_be_input(
    folder: Path, source: str, output: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if apart:
        check_apart(source, output)
    else:
        with pytest.raises(UsageError, match="is within --input"):
            check_apart(source, output)


def test_a_file_that_changes_after_it_was_named_is_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "in" / "a.csv"
    named = find_inputs([str(path)], no_endpoint)
    path.write_text("x,y\n9,9\n")
    os.utime(path, ns=(1, 1))
    reader = InputReader(tmp_path, no_endpoint, named.stamps)  # made later, as the bundle is loaded first
    with (
        pytest.raises(PipelineError, match=r"a\.csv changed since the prediction began"),
        reader.local(named.files[0]),
    ):
        pass


def test_a_file_that_changes_while_it_is_named_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest_of = folder / "in" / "a.csv", hashlib.file_digest

    def digest(file: BinaryIO, name: str) -> object:
        found = digest_of(file, name)
        path.write_text("x,y\n9,9,9\n")
        return found

    monkeypatch.setattr(hashlib, "file_digest", digest)
    with pytest.raises(PipelineError, match=r"a\.csv changed while it was read"):
        find_inputs([str(path)], no_endpoint)
