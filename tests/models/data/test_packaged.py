"""Datasets out of packages: what is in them, that nothing is imported, and the words when a package is not there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.models.imports import imported_by
from tidegate.models.data.label_lists import labels_of
from tidegate.models.data.packaged_datasets import PACKAGED, packaged_files
from tidegate.models.data.sequences import lengths
from tidegate.models.datasets import load_dataset
from tidegate.models.datasets.news import topics
from tidegate.models.datasets.series import read_ts
from tidegate.models.datasets.texts import pronunciations, verses
from tidegate.models.errors import FormatError


@pytest.mark.parametrize(
    ("name", "shape", "classes", "published"),
    [
        ("italy-power", (1096, 24), 2, 1029),
        ("gunpoint", (200, 150), 2, 150),
        ("japanese-vowels", (640, 29, 12), 9, 370),
        ("spoken-digits", (3000, 92, 13), 10, 0),
        ("r8", (7674,), 8, 2189),
        ("20-newsgroups", (18821,), 20, 7528),
    ],
)
def test_a_dataset_has_its_published_rows(name, shape, classes, published):
    columns, test = load_dataset(name)
    values, labels = columns.values()
    assert (values.shape, len(set(labels.tolist())), test) == (shape, classes, published)


def test_a_newsgroup_has_the_parts_of_its_name_as_labels():
    columns, test = load_dataset("newsgroup-labels")
    labels = labels_of(columns["labels"][[0, -1]])
    assert test == 7528 and labels == [["alt", "atheism"], ["misc", "religion", "talk"]]


def test_sequences_keep_their_lengths():
    frames = lengths(load_dataset("spoken-digits")[0]["mfcc"])
    assert (frames.min(), frames.max(), frames.sum()) == (6, 92, 53999)


def test_bikeshare_has_no_column_that_gives_the_answer_away():
    columns, _ = load_dataset("bikeshare")
    assert len(columns["bikers"]) == 8645 and not {"casual", "registered"} & set(columns)
    assert columns["hr"].dtype == object and columns["temp"].dtype == np.float64


def test_texts_are_whole_and_of_one_kind():
    verses = load_dataset("bible")[0]["text"]
    assert (len(verses), verses[0]) == (31102, "In the beginning God created the heaven and the earth.")
    spoken = dict(zip(*load_dataset("cmudict")[0].values(), strict=True))
    assert spoken["adelphi"] == "AH D EH L F IY" and len(spoken) == 124926
    assert len({phoneme for text in spoken.values() for phoneme in text.split()}) == 39


def test_no_sample_of_the_wave_is_learned_and_asked_for():
    columns, test = load_dataset("blood-pressure")
    known, asked = columns["wave"][:-test], " ".join(columns["wave"][-test:])
    assert (len(known), test) == (368, 11) and {len(piece.split()) for piece in columns["wave"]} == {128}
    assert not any(piece in asked for piece in known)


def test_nothing_of_the_packages_is_imported():
    code = "from tidegate.models.datasets import load_dataset; [load_dataset(n) for n in ('gunpoint', 'bikeshare')]"
    assert imported_by(code, ("aeon", "ISLP", "pandas", "sklearn")) == []


def test_a_package_that_is_not_here_is_named_with_the_command():
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "from tidegate.models.errors import SourceError\n"
        "from tidegate.models.data.packaged_datasets import packaged_files\n"
        "try: packaged_files('gunpoint')\n"
        "except SourceError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "package aeon, which is not installed" in done.stdout
    assert "run `make zoo-data`, or `pip install --no-deps aeon`" in done.stdout


def test_every_packaged_dataset_is_locked():
    locked = Path(__file__).parents[3].joinpath("requirements-zoo.txt").read_text()
    assert all(f"{entry.package}==" in locked for entry in PACKAGED.values())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("@problemName x\n", "no series after a line @data"),
        ("@data\n1,2,x:a\n", "line 2"),
        ("@data\n1,2:\n", "no class"),
    ],
)
def test_a_damaged_series_file_is_told(tmp_path, content, said):
    file = tmp_path / "broken.ts"
    file.write_text(content)
    with pytest.raises(FormatError, match=said):
        read_ts(file)


def test_a_damaged_news_file_is_told(tmp_path):
    file = tmp_path / "broken.tab"
    file.write_text("Category\tText\nd\tstring\nclass\t\n\nearn\n")
    with pytest.raises(FormatError, match="line 5: expected a topic"):
        topics([file])


def test_damaged_texts_are_told(tmp_path):
    file = tmp_path / "bible.db"
    file.write_bytes(b"no database at all, but long enough to be taken for the head of one" * 20)
    with pytest.raises(FormatError, match=r"expected a database with a table bible"):
        verses([file])
    file.write_text("word W ER1 D\nalone\n")
    with pytest.raises(FormatError, match="line 2: expected a word and its phonemes"):
        pronunciations([file])


def test_files_come_training_rows_first():
    assert [file.name for file in packaged_files("gunpoint")] == ["GunPoint_TRAIN.ts", "GunPoint_TEST.ts"]
