import numpy as np
import pytest

from tidegate.models.data.columns import (
    as_strings,
    concat,
    load_columns,
    missing,
    rows_of,
    save_columns,
    take,
)
from tidegate.models.errors import FormatError


def columns():
    return {
        "a/b": np.array([1, 2, 3]),
        "file": np.array([0.5, np.nan, 2.0], np.float32),
        "city": np.array(["Zürich", None, ""], object),
        "image": np.arange(12, dtype=np.uint8).reshape(3, 2, 2),
        "yes": np.array([True, False, True]),
    }


def test_columns_come_back_as_they_were(tmp_path):
    save_columns(tmp_path / "c.npz", columns())
    back = load_columns(tmp_path / "c.npz")
    assert list(back) == list(columns())
    for name, column in columns().items():
        assert back[name].dtype == column.dtype
        np.testing.assert_array_equal(back[name], column)


def test_equal_columns_give_equal_bytes(tmp_path):
    for name in "ab":
        save_columns(tmp_path / name, columns())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_rows_and_no_columns_can_be_saved(tmp_path):
    for empty in ({}, {"s": np.array([], object), "x": np.zeros((0, 2))}):
        save_columns(tmp_path / "c.npz", empty)
        assert {name: c.shape for name, c in load_columns(tmp_path / "c.npz").items()} == {
            name: c.shape for name, c in empty.items()
        }


def test_a_foreign_file_is_refused(tmp_path):
    np.savez(tmp_path / "c.npz", x=np.arange(3))
    with pytest.raises(FormatError, match="not a file of columns"):
        load_columns(tmp_path / "c.npz")


def test_take_and_rows_of():
    assert rows_of(columns()) == 3
    assert rows_of({}) == 0
    assert take(columns(), np.array([2, 0]))["a/b"].tolist() == [3, 1]


def test_concat_widens_numbers_to_strings_and_fills_what_is_not_there():
    joined = concat(
        [
            {"a": np.array([1, 2]), "b": np.array([True, False])},
            {"a": np.array(["x"], object), "c": np.array([1.5])},
        ]
    )
    assert joined["a"].tolist() == ["1", "2", "x"]
    assert joined["b"].tolist()[:2] == [1.0, 0.0]
    assert missing(joined["b"]).tolist() == [False, False, True]
    assert missing(joined["c"]).tolist() == [True, True, False]


def test_concat_refuses_rows_of_different_shapes():
    with pytest.raises(FormatError, match=r"'a' has rows of shape \(2,\) and \(3,\).*pad or crop"):
        concat([{"a": np.zeros((1, 2))}, {"a": np.zeros((1, 3))}])


def test_missing_is_none_nan_infinite_or_an_array_without_a_number():
    assert missing(np.array([1.0, np.nan, np.inf])).tolist() == [False, True, True]
    assert missing(np.array(["a", None], object)).tolist() == [False, True]
    assert missing(np.array([[np.nan, 1.0], [np.nan, np.nan]])).tolist() == [False, True]
    assert missing(np.array([1, 2])).tolist() == [False, False]


def test_as_strings_writes_whole_numbers_without_a_point():
    assert as_strings(np.array([3.0, 2.5, np.nan])).tolist() == ["3", "2.5", None]
    assert as_strings(np.array([True, False])).tolist() == ["true", "false"]
    assert as_strings(np.array([7])).tolist() == ["7"]
