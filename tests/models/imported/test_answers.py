"""Reference answers: read from each format, compared, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate.models.errors import FormatError
from tidegate.models.imported.answers import read_answers, require_answers, require_rows
from tidegate.models.preprocessing.schema import Target

TWO = Target(names=("y",), task="classification", classes=("no", "yes"))
NUMBER = Target(names=("price",), task="regression")
SURE = np.array([[0.25], [0.5], [1.0]], np.float32)
BOTH = np.concatenate([1 - SURE, SURE], axis=1)


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_each_format_gives_the_same_answers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SURE[:, 0])
    np.savez(tmp_path / "a.npz", probabilities=BOTH)
    table = written(tmp_path / "a.csv", "yes,no\n0.25,0.75\n0.5,0.5\n1.0,0.0\n")
    for path in (tmp_path / "a.npy", tmp_path / "a.npz", table):
        np.testing.assert_array_equal(read_answers(path, path.name, TWO), BOTH)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "p\n0.1\nnan\n", "a.csv holds 1 numbers a row; expected 1 finite ones"),
        (
            "b.csv",
            "p,q\n1,2\n3,4\n",
            "b.csv holds 2 numbers a row; expected 1 finite ones, the values predicted",
        ),
        ("c.csv", "p\nyes\nno\n", "c.csv: column 'p' holds texts; expected numbers"),
        ("d.npy", "no array", "d.npy is no array of numbers"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        read_answers(written(tmp_path / name, content), name, NUMBER)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(FormatError, match="is no array of numbers"):
        read_answers(tmp_path / "a.npy", "a.npy", NUMBER)


def test_the_worst_row_is_named_by_its_place_in_the_source() -> None:
    places = np.array([2, 0], np.int64)
    assert require_answers(BOTH, BOTH[places] + np.float32(2e-5), places, "a.npy") == pytest.approx(
        2e-5, rel=0.1
    )
    wrong = BOTH[places] + np.array([[0.0, 0.0], [0.003, -0.003]], np.float32)
    with pytest.raises(
        FormatError, match=r"in 1 of 2 rows .* in row 0, counted from 0, 0.753 .* 0.003 apart"
    ):
        require_answers(BOTH, wrong, places, "a.npy")


def test_one_answer_for_each_row_of_the_data() -> None:
    with pytest.raises(FormatError, match="holds answers to 3 rows, and the data has 4"):
        require_rows(BOTH, 4, "a.npy")
